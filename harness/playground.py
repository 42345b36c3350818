"""The objects of `python -m harness up`: the addons, one storage space, a proxy's files.

The space is installed by the chart as a hospital's is; nothing is tested here.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from harness import reading
from harness.addons import minio, nats
from harness.airgap.progress import Progress
from harness.cluster import Cluster
from harness.commands import Say
from harness.images import product_image
from harness.kubernetes_objects import Namespace
from harness.provisioning import Platform, Space

NAMESPACE = "playground"
NAME = "radiology"
NODE_PORT = 30820
"""By which its DICOMweb service is reached from this machine."""

_PROXY_ID = "ward7"
_FOLDER = Path(__file__).parent.parent / ".tools" / NAMESPACE


@dataclass(frozen=True)
class Playground:
    """A storage space that is installed, and the configuration of a proxy that belongs to it."""

    space: Space
    proxy_configuration: Path
    dicomweb: str
    """Where its DICOMweb service and its page are."""

    def usage(self) -> list[str]:
        """Return instructions for its use, a line each."""
        platform = self.space.platform
        return [
            f"the storage space {NAME} is in the namespace {NAMESPACE}; NATS and MinIO in addons",
            f"  NATS         {platform.nats.url_outside}",
            f"  MinIO        {platform.minio.address}, bucket {self.space.bucket}",
            "start a proxy outside the cluster:",
            f"  .venv/bin/dimse-ingestion proxy --config {self.proxy_configuration}",
            "send it images:",
            "  storescu -aec DICOM-INGEST 127.0.0.1 11112 IMAGE.dcm",
            "and look at them:",
            f"  {self.dicomweb}/",
        ]


def install(cluster: Cluster, say: Say) -> Playground:
    """Install the addons and the space into the cluster, or update them."""
    image = product_image(say)
    progress = Progress(3, say)
    with progress.step("loading the product's image into the node"):
        cluster.load(image)
    with progress.step("installing NATS and MinIO"):
        addons = nats.install(cluster), minio.install(cluster)
    namespace = Namespace(cluster.kubeconfig, NAMESPACE).create()
    space = Space(Platform(cluster.kubeconfig, *addons, image), namespace, NAME, NAMESPACE)
    service = {"type": "NodePort", "nodePort": NODE_PORT}
    dicomweb = {**reading.BY_DEFAULT, "service": service}
    with progress.step(f"installing the storage space {NAME}"):
        space.create_objects().release.install_or_upgrade(space.values(dicomweb=dicomweb))
    host, port = cluster.outside(NODE_PORT)
    return Playground(space, write_proxy_yaml(space, _FOLDER), f"http://{host}:{port}")


def write_proxy_yaml(space: Space, folder: Path) -> Path:
    """Write a proxy's configuration for the space; return its proxy.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    access = space.access(_PROXY_ID)
    (folder / "nats.creds").write_text(access.credentials)
    (folder / "nats.creds").chmod(0o600)
    (folder / "nats-ca.crt").write_text(access.ca_pem)
    configuration = {
        "aeTitle": "DICOM-INGEST",
        "host": "127.0.0.1",
        "port": 11112,
        "proxyId": _PROXY_ID,
        "natsUrl": access.url,
        "natsSubjectRoot": space.subject_root,
        "natsAuthToken": str(folder / "nats.creds"),
        "natsCaPath": str(folder / "nats-ca.crt"),
        "spoolDirectory": str(folder / "spool"),
    }
    (folder / "proxy.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    return folder / "proxy.yaml"
