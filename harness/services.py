"""The product's services as processes of their own, by their command line and environment.

Each gets free ports on 127.0.0.1, writes its log to a file, and can be stopped, killed and started
again on the same ports. Nothing of the product is imported.
"""

import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.error import URLError
from urllib.request import urlopen

from harness.ports import free_port

T = TypeVar("T")

_LONGEST_START = 60.0
_LONGEST_STOP = 60.0
_STARTED: "weakref.WeakSet[ServiceProcess]" = weakref.WeakSet()
_INHERITED = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "TMPDIR", "VIRTUAL_ENV")


def eventually(read: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 60.0) -> T:
    """Look until what is seen is wanted; raises AssertionError that shows the last value."""
    deadline = time.monotonic() + seconds
    while not wanted(value := read()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {seconds} s; last seen: {value!r}")
        time.sleep(0.05)
    return value


@dataclass(eq=False)
class ServiceProcess:
    """One service's process; `arguments` come after `dimse-ingestion`, `python` runs it."""

    arguments: list[str]
    environment: Mapping[str, str]
    log: Path
    http_port: int = 0
    python: str = sys.executable
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> "ServiceProcess":
        """Start the process; doesn't wait."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with self.log.open("ab") as lines:
            self.process = subprocess.Popen(
                [self.python, "-m", "dimse_ingestion", *self.arguments],
                env=inherited | dict(self.environment),
                stdout=lines,
                stderr=lines,
            )
        _STARTED.add(self)
        return self

    @staticmethod
    def running() -> "list[ServiceProcess]":
        """Return the services that this process has started and that have not ended."""
        return [each for each in _STARTED if each.process and each.process.poll() is None]

    def ready(self, seconds: float = _LONGEST_START) -> "ServiceProcess":
        """Wait until /readyz answers 200; AssertionError with its last answer and the log."""
        try:
            eventually(self.readiness, lambda value: value[0] == 200, seconds)
        except AssertionError as never:
            raise AssertionError(f"{self.arguments}: {never}\n{self.last_lines()}") from None
        return self

    def readiness(self) -> tuple[int, str]:
        """Return status and text of /readyz; 0 without an answer. Fails if the process ended."""
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.last_lines()}")
        return self.get("/readyz")

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of a GET; 0 and the reason when nothing answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except URLError as refused:
            if hasattr(refused, "code"):
                return refused.code, refused.read().decode()  # type: ignore[attr-defined]
            return 0, str(refused)
        except OSError as broken:
            return 0, str(broken)

    def stop(self) -> int:
        """Send SIGTERM, wait for a clean end, and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def kill(self) -> None:
        """Send SIGKILL, as a crash or the out-of-memory killer does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(_LONGEST_STOP)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments} did not stop:\n{self.last_lines()}") from None

    @property
    def pid(self) -> int:
        """The running process."""
        assert self.process is not None
        return self.process.pid

    def peak_memory(self) -> int:
        """Return the most resident memory the process ever had, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024

    def last_lines(self, count: int = 30) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def lines(self) -> list[str]:
        """Return its whole log."""
        return self.log.read_text(errors="replace").splitlines()


@dataclass
class StorageSpace:
    """The services of one storage space around one NATS, with a folder as bucket and SQLite.

    `nats_url` and `nats_token` are the server's; `extra` is added to each service's environment.
    """

    folder: Path
    nats_url: str
    nats_token: str = ""
    subject_root: str = "DIMSE"
    database_url: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    services: list[ServiceProcess] = field(default_factory=list, init=False)
    catalogue_port: int = field(default_factory=free_port, init=False)
    dimse_port: int = field(default_factory=free_port, init=False)
    dicomweb_port: int = field(default_factory=free_port, init=False)

    @property
    def bucket(self) -> Path:
        """The folder that is the bucket."""
        return self.folder / "bucket"

    def catalogue(self) -> ServiceProcess:
        """Return the catalogue, not started."""
        url = self.database_url or f"sqlite+aiosqlite:///{self.folder}/catalogue.db"
        return self._service("catalogue", {"DATABASE_URL": url}, self.catalogue_port)

    def ingestion(self, name: str = "ingestion") -> ServiceProcess:
        """Return one replica of the ingestion service, not started."""
        replica = {
            "DIMSE_REPLICA_ID": name,
            "DIMSE_DECODER_DIRECTORY": str(self.folder / "decompression"),
        }
        return self._service("ingestion", self._messaging | self._storage | replica, log=name)

    def dicomweb(self) -> ServiceProcess:
        """Return the DICOMweb service, not started."""
        own = {
            "DICOMWEB_HTTP_HOST": "127.0.0.1",
            "DICOMWEB_HTTP_PORT": str(self.dicomweb_port),
            "DICOMWEB_SPOOL_DIRECTORY": str(self.folder / "spool-dicomweb"),
        }
        return self._service("dicomweb", self._storage | own)

    def proxy(self, name: str = "proxy") -> ServiceProcess:
        """Return the proxy, not started."""
        return self._service(
            "proxy",
            self._messaging
            | {
                "DIMSE_HOST": "127.0.0.1",
                "DIMSE_PORT": str(self.dimse_port),
                "DIMSE_PROXY_ID": name,
                "DIMSE_SPOOL_DIRECTORY": str(self.folder / f"spool-{name}"),
            },
            log=name,
        )

    @property
    def _storage(self) -> dict[str, str]:
        """Return the settings of the services at the bucket, after creating its folders."""
        config, secret = self.folder / "config", self.folder / "secret"
        config.mkdir(parents=True, exist_ok=True)
        secret.mkdir(exist_ok=True)
        self.bucket.mkdir(exist_ok=True)
        (config / "LOCAL_STORAGE_PATH").write_text(str(self.bucket))
        catalogue = f"http://127.0.0.1:{self.catalogue_port}"
        return {
            "BUCKET_CONFIG_PATH": str(config),
            "BUCKET_SECRET_PATH": str(secret),
            "PROVIDER_NAME": "provider",
            "K_SINK": f"{catalogue}/events",
            "QUERY_ENDPOINT": catalogue,
        }

    @property
    def _messaging(self) -> dict[str, str]:
        secure = self.nats_url.startswith(("tls:", "wss:"))
        return {
            "DIMSE_NATS_URL": self.nats_url,
            "DIMSE_NATS_TLS_ENABLED": str(secure).lower(),
            "DIMSE_NATS_AUTH_TOKEN": self.nats_token,
            "DIMSE_NATS_SUBJECT_ROOT": self.subject_root,
        }

    def _service(
        self, command: str, environment: dict[str, str], http_port: int = 0, log: str = ""
    ) -> ServiceProcess:
        self.folder.mkdir(parents=True, exist_ok=True)
        port = http_port or free_port()
        http = {"DIMSE_HTTP_HOST": "127.0.0.1", "DIMSE_HTTP_PORT": str(port)}
        path = self.folder / f"{log or command}.log"
        service = ServiceProcess([command], http | environment | dict(self.extra), path, port)
        self.services.append(service)
        return service

    def close(self) -> None:
        """Kill what still runs."""
        for service in self.services:
            service.kill()
