"""What the airgap builds from, each version in this one place, and why it is that one."""

KIND = "v0.33.0"
HELM = "v4.3.1"
"""The major version that hospitals install today; the chart is tested by it."""

KUBERNETES = "v1.34.4"
"""The last minor version whose kubelet starts on cgroup v1, which old hosts still have."""

NODE_IMAGE = f"airgap/kind-node:{KUBERNETES}"
"""The node image that the airgap builds."""

PULLED_NODE_IMAGE = (
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
"""What kind's release of that version names as its own, for machines that reach registries."""
