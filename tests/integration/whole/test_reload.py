"""SIGHUP to the proxy: new certificate and AE titles, and an association that goes on."""

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from pynetdicom import AE
from pynetdicom.association import Association

from harness.ports import free_port
from harness.scu import VERIFICATION
from harness.services import ServiceProcess, eventually


@dataclass
class TlsProxy:
    """A proxy with DICOM TLS, without NATS; `folder` has its settings and certificate."""

    folder: Path
    authority: trustme.CA
    process: ServiceProcess
    port: int

    def issue(self) -> bytes:
        """Write a new certificate for the proxy, and return it."""
        issued = self.authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(self.folder / "tls.key"))
        issued.cert_chain_pems[0].write_to_path(str(self.folder / "tls.crt"))
        return issued.cert_chain_pems[0].bytes()

    def write(self, more: str = "") -> None:
        self.folder.joinpath("proxy.yaml").write_text(
            f"natsUrl: 127.0.0.1:{free_port()}\nhost: 127.0.0.1\nport: {self.port}\n"
            f"spoolDirectory: {self.folder}/spool\n"
            f"tlsCertificatePath: {self.folder}/tls.crt\ntlsKeyPath: {self.folder}/tls.key\n{more}"
        )

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    def presented(self) -> bytes:
        """Return the certificate that a new connection gets, in PEM; nothing without one."""
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), 10) as plain,
                self.context().wrap_socket(plain, server_hostname="127.0.0.1") as secured,
            ):
                return ssl.DER_cert_to_PEM_cert(secured.getpeercert(True) or b"").encode()
        except OSError:
            return b""

    def associate(self, calling: str) -> Association:
        ae = AE(ae_title=calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
        ae.add_requested_context(VERIFICATION)
        tls = (self.context(), "127.0.0.1")
        return ae.associate("127.0.0.1", self.port, ae_title="DICOM-INGEST", tls_args=tls)

    def metric(self, name: str) -> float:
        _, text = self.process.get("/metrics")
        found = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(found[0]) if found else -1


@pytest.fixture(params=[1, 2], ids=["alone", "two workers"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TlsProxy]:
    http_port = free_port()
    environment = {
        "DIMSE_HTTP_HOST": "127.0.0.1",
        "DIMSE_HTTP_PORT": str(http_port),
        "DIMSE_WORKERS": str(request.param),
    }
    command = ["proxy", "--config", str(tmp_path / "proxy.yaml")]
    process = ServiceProcess(command, environment, tmp_path / "proxy.log", http_port)
    made = TlsProxy(tmp_path, trustme.CA(), process, free_port())
    made.issue()
    made.write()
    process.start()
    eventually(made.presented, bool)
    yield made
    process.kill()


def test_a_signal_changes_certificate_and_allow_list_and_drops_no_association(
    proxy: TlsProxy,
) -> None:
    opened = proxy.associate("CT1")
    assert opened.is_established
    new = proxy.issue()
    proxy.write("callingAeTitles: [MR1]\n")
    os.kill(proxy.process.pid, signal.SIGHUP)
    eventually(proxy.presented, lambda certificate: certificate.split() == new.split())
    eventually(lambda: _is_accepted(proxy, "CT1"), lambda accepted: not accepted)
    assert _is_accepted(proxy, "MR1")
    assert opened.is_established
    assert opened.send_c_echo().Status == 0xA700  # without NATS; it is the old association's
    opened.release()


def test_a_file_that_is_no_settings_keeps_the_old_ones_and_shows_in_the_metric(
    proxy: TlsProxy,
) -> None:
    before = proxy.presented()
    proxy.write("callingAeTitles: [MR1\n")
    os.kill(proxy.process.pid, signal.SIGHUP)
    eventually(lambda: proxy.metric("dimse_proxy_last_reload_successful"), lambda value: value == 0)
    assert proxy.presented() == before
    assert _is_accepted(proxy, "CT1")
    assert any("the old ones stay in use" in line for line in proxy.process.lines())


def _is_accepted(proxy: TlsProxy, calling: str) -> bool:
    association = proxy.associate(calling)
    accepted = bool(association.is_established)
    if accepted:
        association.release()
    return accepted
