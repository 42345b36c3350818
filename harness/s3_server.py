"""A real S3 server on loopback, for tests: MinIO or versitygw, paused, killed, restarted, with TLS.

The programs are found on PATH, in $DIMSE_TOOLS, in .tools/bin or in the airgap's cache, where
`python -m harness.s3_server` builds them with Go. A server has the same port and folder after
restarts. Knows nothing of what is stored.
"""

import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import obstore
import trustme
from obstore.store import S3Store

from harness import pausing
from harness.airgap import go_programs
from harness.airgap.cache import cache
from harness.airgap.progress import Progress
from harness.commands import Say, print_line
from harness.ports import free_port

if TYPE_CHECKING:
    from obstore.store import ClientConfig

KINDS = ("versitygw", "minio")
"""The programs; harness.airgap.pins has the Go modules that they are built from."""

_TOOLS = Path(__file__).parent.parent / ".tools" / "bin"
_LONGEST_START = 20.0
_LONGEST_STOP = 10.0


def binary(kind: str) -> Path | None:
    """Return the program's path, or None."""
    built = str(cache().programs)
    places = [os.environ.get("DIMSE_TOOLS", ""), str(_TOOLS), built, os.environ.get("PATH", "")]
    match = shutil.which(kind, path=os.pathsep.join(place for place in places if place))
    return Path(match) if match else None


def why_not(kind: str) -> str:
    """Return why a server of this kind can't be started here; empty when it can."""
    if binary(kind):
        return ""
    return f"{kind} is neither on PATH nor in the cache: build it by python -m harness.s3_server"


@dataclass
class S3Server:
    """One server with one user, its objects below `folder`."""

    kind: str
    folder: Path
    tls: bool = False
    access_key: str = "storage-space"
    secret_key: str = "a-secret-for-tests"
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def authority(self) -> str:
        """The PEM certificate of the CA that signed its certificate; empty without TLS."""
        return (self.folder / "ca.pem").read_text() if self.tls else ""

    def start(self) -> "S3Server":
        """Start it and wait until it answers."""
        self.port = self.port or free_port()
        self._data.mkdir(parents=True, exist_ok=True)
        if self.tls and not self._certificates.exists():
            self._certify()
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                env={"PATH": os.defpath, "HOME": str(self.folder), **self._environment()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_it_answers()
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, by `how`; nothing happens if it isn't running."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_LONGEST_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Stop the process (SIGSTOP): connections are accepted and get no answer."""
        assert self.process is not None
        pausing.pause(self.process)

    def go_on(self) -> None:
        """Continue the process (SIGCONT)."""
        assert self.process is not None
        pausing.resume(self.process)

    def make_bucket(self, name: str) -> str:
        """Create a bucket; return its name."""
        url = obstore.sign(self.store(name), "PUT", "", timedelta(minutes=5))
        with urlopen(Request(url, method="PUT"), context=self._trust(), timeout=10):
            return name

    def store(self, bucket: str) -> S3Store:
        """Return the bucket as an observer sees it."""
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            client_options=cast("ClientConfig", {"allow_http": True} | self._observers_trust()),
        )

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of all objects."""
        return sorted(meta["path"] for match in obstore.list(self.store(bucket)) for meta in match)

    def unfinished_uploads(self, bucket: str) -> list[str]:
        """Return the files of uploads neither completed nor aborted, on the server's disk."""
        places = {
            "minio": self._data / ".minio.sys" / "multipart",
            "versitygw": self._data / bucket / ".sgwtmp" / "multipart",
        }
        # os.walk goes on where the server removes a folder meanwhile
        found = os.walk(places[self.kind])
        return [str(Path(folder, name)) for folder, _, names in found for name in names]

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _certificates(self) -> Path:
        return self.folder / "certificates"

    def _certify(self) -> None:
        self._certificates.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.folder / "ca.pem")
        issued = authority.issue_cert("127.0.0.1", "localhost")
        issued.private_key_pem.write_to_path(self._certificates / "private.key")
        issued.cert_chain_pems[0].write_to_path(self._certificates / "public.crt")

    def _command(self) -> list[str]:
        program = str(binary(self.kind))
        address = f"127.0.0.1:{self.port}"
        if self.kind == "minio":
            trust = ["--certs-dir", str(self._certificates)] if self.tls else []
            return [program, "server", *trust, "--address", address, str(self._data)]
        certificate, key = self._certificates / "public.crt", self._certificates / "private.key"
        trust = ["--cert", str(certificate), "--key", str(key)] if self.tls else []
        return [program, "--port", address, "--quiet", *trust, "posix", str(self._data)]

    def _environment(self) -> dict[str, str]:
        if self.kind == "minio":
            user = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
            return user | {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
        return {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _LONGEST_START
        while (problem := self._problem()) and time.monotonic() < deadline:
            time.sleep(0.02)
        if problem:
            log = (self.folder / "log").read_text(errors="replace")[-2000:]
            self.stop(signal.SIGKILL)
            raise AssertionError(f"{self.kind} does not answer: {problem}\n{log}")

    def _problem(self) -> str:
        """Return why it can't be used yet; MinIO answers 503 for a while."""
        try:
            with urlopen(self.endpoint, context=self._trust(), timeout=2):
                return ""
        except HTTPError as answer:
            return "" if answer.code < 500 else str(answer)
        except (URLError, OSError) as error:
            return str(error)

    def _trust(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cadata=self.authority) if self.tls else None

    def _observers_trust(self) -> dict[str, str]:
        return {"root_certificate": self.authority} if self.tls else {}


@contextmanager
def s3_server(kind: str, folder: Path, *, tls: bool = False) -> Iterator[S3Server]:
    """Yield a running server of this kind until the end of the block; `folder` is its own."""
    folder.mkdir(parents=True, exist_ok=True)
    server = S3Server(kind, folder, tls).start()
    try:
        yield server
    finally:
        server.stop()


def build(say: Say = print_line) -> None:
    """Build what is missing where the airgap finds it, too; minutes on the first run."""
    missing = [kind for kind in KINDS if not binary(kind)]
    progress = Progress(len(missing), say)
    for kind in missing:
        with progress.step(f"building {kind}"):
            go_programs.install(cache(), kind)


if __name__ == "__main__":
    build()
