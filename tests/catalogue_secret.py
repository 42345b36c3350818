"""The Secret of a catalogue as Kubernetes mounts it, with a CA of the test's own."""

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme

from dimse_ingestion.settings import CatalogueSettings, PeerAccess

EXPIRED = datetime.now(UTC) - timedelta(days=1)


def certificate_keys(
    authority: trustme.CA, host: str = "127.0.0.1", not_after: datetime | None = None
) -> dict[str, bytes]:
    """Return the keys of a Secret of type kubernetes.io/tls, with `ca.crt`."""
    not_before = not_after - timedelta(days=9) if not_after else None
    leaf = authority.issue_cert(host, not_before=not_before, not_after=not_after)
    return {
        "ca.crt": authority.cert_pem.bytes(),
        "tls.crt": b"".join(each.bytes() for each in leaf.cert_chain_pems),
        "tls.key": leaf.private_key_pem.bytes(),
    }


@dataclass
class CatalogueSecret:
    """The folder at which the Secret is mounted, which changes all at once, by a symlink."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def put(self, keys: Mapping[str, bytes | str]) -> "CatalogueSecret":
        """Write exactly these keys into the Secret."""
        content = self.folder / f"..{uuid.uuid4().hex}"
        content.mkdir(parents=True)
        for name, value in keys.items():
            (content / name).write_bytes(value if isinstance(value, bytes) else value.encode())
        link, current = self.folder / "..new", self.folder / "..data"
        before = current.resolve() if current.is_symlink() else None
        link.symlink_to(content.name)
        link.rename(current)
        for name in keys:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        if before:
            shutil.rmtree(before)
        return self

    def put_all(self, token: str = "secret-1", **more: str) -> "CatalogueSecret":
        """Write a certificate for 127.0.0.1 and this token."""
        return self.put({**certificate_keys(self.authority), "token": token, **more})

    def server(self, data: Path, **more: Any) -> CatalogueSettings:
        """Return settings of a catalogue with this Secret and an SQLite file below `data`."""
        return CatalogueSettings.load(
            **{
                "database_url": f"sqlite:///{data}/catalogue.db",
                "http_host": "127.0.0.1",
                "http_port": 0,
                "catalogue_port": 0,
                "certificate_path": self.folder / "tls.crt",
                "key_path": self.folder / "tls.key",
                "token": str(self.folder),
                "secret_name": "core-catalogue",
                **more,
            }
        )

    def access(self, **more: Any) -> PeerAccess:
        """Return the settings of a client with this Secret."""
        known: dict[str, Any] = {
            "token": str(self.folder),
            "authority": self.folder / "ca.crt",
            "secret_name": "core-catalogue",
        }
        return PeerAccess(**known | more)
