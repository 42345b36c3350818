"""`check` tests the audit repository and its queue, and sends no message."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from dimse_ingestion.commands.check import _check_audit
from dimse_ingestion.commands.report import Report
from dimse_ingestion.settings.audit import AuditSettings
from harness.ports import free_port
from tests.audit_repository import certificates, tls_repository


async def checked(folder: Path, address: str, authority: Path | None = None) -> tuple[str, bool]:
    """Return what is printed, and whether something is wrong."""
    printed = StringIO()
    report = Report(Console(file=printed, width=300))
    settings = AuditSettings.load(
        audit_repository=address, audit_ca_path=authority, audit_directory=folder / "audit"
    )
    await _check_audit(report, settings)
    return printed.getvalue(), report.failed


async def test_a_repository_that_is_reached_gets_no_message(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    with tls_repository(own.server) as there:
        printed, failed = await checked(tmp_path, there.address, own.authority)
        assert there.is_reached.wait(30)
    assert not there.messages
    assert not failed
    assert f"ok      audit queue in {tmp_path}/audit: can be written" in printed
    assert f"ok      audit repository {there.address}: reached over TLS" in printed


async def test_what_is_wrong_is_told_with_the_address(tmp_path: Path) -> None:
    own = certificates(tmp_path)
    address = f"tls://127.0.0.1:{free_port()}"
    printed, failed = await checked(tmp_path, address, own.authority)
    assert failed
    assert f"wrong   audit repository {address}: Connection refused" in printed
    with tls_repository(own.server) as there:
        printed, failed = await checked(tmp_path, there.address, tmp_path / "missing.pem")
    assert failed
    assert f"audit repository {there.address}: DIMSE_AUDIT_CA_PATH: " in printed
    (tmp_path / "audit").rmdir()
    (tmp_path / "audit").write_text("a file")
    printed, failed = await checked(tmp_path, "udp://127.0.0.1")
    assert failed
    assert f"wrong   audit queue in {tmp_path}/audit: " in printed
    assert "ok      audit repository udp://127.0.0.1:514: its name is known" in printed


async def test_without_a_repository_it_says_that_there_is_none(tmp_path: Path) -> None:
    printed, failed = await checked(tmp_path, "")
    assert (printed, failed) == ("ok      audit trail: off (DIMSE_AUDIT_REPOSITORY)\n", False)
