"""Orthanc as another AE: stores what it receives, queries and retrieves from other AEs.

Its REST API shows what arrived and makes it act. Nothing of the product here.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from harness.modalities import Peer, is_listening
from harness.ports import free_port
from harness.services import eventually

_AE_TITLE = "ORTHANC"


def missing() -> str:
    """Return why Orthanc can't be used here; empty when it can."""
    return "" if shutil.which("Orthanc") else "Orthanc is not installed (Debian's orthanc)"


@dataclass(frozen=True)
class Orthanc:
    """A running Orthanc."""

    peer: Peer
    http_port: int

    def get(self, path: str) -> Any:
        """Return what its REST API answers as JSON."""
        with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=60) as answer:
            return json.load(answer)

    def file(self, instance: str) -> bytes:
        """Return an instance's file; `instance` is Orthanc's identifier."""
        url = f"http://127.0.0.1:{self.http_port}/instances/{instance}/file"
        with urlopen(url, timeout=60) as answer:
            return bytes(answer.read())

    def post(self, path: str, content: object) -> Any:
        """Post JSON to its REST API and return the answer. Raises urllib.error.HTTPError."""
        request = Request(
            f"http://127.0.0.1:{self.http_port}{path}",
            data=json.dumps(content).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def delete(self, path: str) -> None:
        """Delete a resource of its REST API."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        with urlopen(Request(url, method="DELETE"), timeout=60):
            pass


@contextmanager
def running_orthanc(
    folder: Path, modalities: Mapping[str, Peer] | None = None, port: int = 0
) -> Iterator[Orthanc]:
    """Run an Orthanc that knows these other AEs, by name; without `port` it takes a free one."""
    peer, http_port = Peer("127.0.0.1", port or free_port(), called=_AE_TITLE), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "Name": "other",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomPort": peer.port,
        "DicomAet": _AE_TITLE,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "TcpNoDelay": True,
        "DicomModalities": {
            name: [each.called, each.host, each.port] for name, each in (modalities or {}).items()
        },
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        ["Orthanc", str(folder / "orthanc.json")],
        env=os.environ | {"TCP_NODELAY": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: is_listening(peer) and is_listening(Peer("127.0.0.1", http_port)), bool)
        yield Orthanc(peer, http_port)
    finally:
        process.terminate()
        process.wait()
