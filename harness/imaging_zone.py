"""The imaging zone: a proxy as a process outside the cluster, which reaches NATS over TLS.

Its spool, its credential and its log are in a folder of its own. Modalities are
`harness.modalities` and `harness.scu`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.modalities import Peer
from harness.ports import free_port
from harness.services import ServiceProcess

AE_TITLE = "DICOM-INGEST"


@dataclass(frozen=True)
class NatsAccess:
    """A proxy's access to NATS: address, CA, its own credential."""

    url: str
    ca_pem: str
    credentials: str


@dataclass(frozen=True)
class ImagingZone:
    """One proxy and the AE that modalities reach it by."""

    folder: Path
    proxy: ServiceProcess
    peer: Peer

    def open(self) -> "ImagingZone":
        """Start the proxy and wait until a C-ECHO has succeeded; return it."""
        self.proxy.start().ready()
        return self

    def close(self) -> None:
        """Kill the proxy."""
        self.proxy.kill()

    def change_credential(self, credentials: str) -> None:
        """Write another credential to the file that the proxy reads at its next connect."""
        (self.folder / "nats.creds").write_text(credentials)


def zone(
    folder: Path,
    access: NatsAccess,
    subject_root: str,
    proxy_id: str,
    settings: Mapping[str, str] | None = None,
) -> ImagingZone:
    """Return a proxy `proxy_id` of the storage space with this subject root, not started.

    `settings` are further variables of its environment.
    """
    folder.mkdir(parents=True)
    (folder / "nats.creds").write_text(access.credentials)
    (folder / "nats-ca.crt").write_text(access.ca_pem)
    port, http_port = free_port(), free_port()
    environment = {
        "DIMSE_AE": AE_TITLE,
        "DIMSE_HOST": "127.0.0.1",
        "DIMSE_PORT": str(port),
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(http_port),
        "DIMSE_PROXY_ID": proxy_id,
        "DIMSE_NATS_URL": access.url,
        "DIMSE_NATS_SUBJECT_ROOT": subject_root,
        "DIMSE_NATS_AUTH_TOKEN": str(folder / "nats.creds"),
        "DIMSE_NATS_CA_PATH": str(folder / "nats-ca.crt"),
        "DIMSE_SPOOL_DIRECTORY": str(folder / "spool"),
    }
    proxy = ServiceProcess(
        ["proxy"], environment | dict(settings or {}), folder / "proxy.log", http_port
    )
    return ImagingZone(folder, proxy, Peer("127.0.0.1", port, AE_TITLE))
