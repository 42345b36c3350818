"""The audit trail with real repositories: TLS and UDP, down and back, full queues, restarts."""

import asyncio
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.audit import repository as repositories
from dimse_ingestion.audit import send_order
from dimse_ingestion.audit.codes import Action, EventId, Outcome
from dimse_ingestion.audit.messages import Activity, Participant, Patient, destination, source
from dimse_ingestion.audit.repository import NotSent, repository
from dimse_ingestion.audit.trail import AuditProcess, AuditTrail, open_audit_trail
from dimse_ingestion.observability import metrics
from dimse_ingestion.outbox.folders import Folders
from dimse_ingestion.settings import ConfigurationMistake
from dimse_ingestion.settings.audit import AuditSettings
from harness.ports import free_port
from harness.services import eventually
from tests.audit_repository import (
    Certificates,
    Received,
    Repository,
    certificates,
    tls_repository,
    udp_repository,
)

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def own(tmp_path: Path) -> Certificates:
    return certificates(tmp_path)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "REFUSED_INTERVAL", "_SHORT_PAUSE"):
        monkeypatch.setattr(send_order, name, 0.05)


def settings(folder: Path, address: str, own: Certificates | None, **more: Any) -> AuditSettings:
    given: dict[str, Any] = {
        "audit_repository": address,
        "audit_directory": folder / "queue",
        "audit_ca_path": own.authority if own else None,
    }
    return AuditSettings.load(**given | more)


@asynccontextmanager
async def trail_of(
    given: AuditSettings, process: AuditProcess | None = None
) -> AsyncIterator[AuditTrail]:
    async with open_audit_trail(given, process or AuditProcess("proxy")) as trail:
        assert trail is not None
        yield trail


def record(trail: AuditTrail, study: str = "1.2.3", name: str = "Doe^Jane") -> None:
    caller = Participant("CT1", "10.1.2.3", ("CT1",), is_requestor=True)
    activity = Activity(
        EventId.INSTANCES_TRANSFERRED,
        Action.CREATE,
        Outcome.SUCCESS,
        (source(caller), destination(trail.itself)),
        study,
        Patient("P1", name),
    )
    trail.record_instance("scope", activity, CT_IMAGE, 900)
    trail.end_scope("scope")


async def transferred(repository: Repository, number: int = 1) -> list[Received]:
    event = "DICOM Instances Transferred"
    return await asyncio.to_thread(repository.wait_for_event, event, number)


async def until(happened: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, happened, bool)


async def test_without_a_repository_there_is_no_trail(tmp_path: Path) -> None:
    given = AuditSettings.load(audit_directory=tmp_path / "queue")
    async with open_audit_trail(given, AuditProcess("proxy")) as trail:
        assert trail is None
    assert not (tmp_path / "queue").exists()


async def test_over_tls_start_instances_and_stop_arrive_in_order(
    tmp_path: Path, own: Certificates
) -> None:
    with tls_repository(own.server) as there:
        async with trail_of(settings(tmp_path, there.address, own)) as trail:
            record(trail)
            (message,) = await transferred(there)
            assert (message.study, message.patient) == ("1.2.3", ("P1", "Doe^Jane"))
            assert message.application == "dimse-proxy"
        stop = there.wait_for(lambda each: each.type == "Application Stop")
        assert stop[0].participants[0][1] == "110150"
    types = [each.type or each.event for each in there.messages]
    assert types == ["Application Start", "DICOM Instances Transferred", "Application Stop"]
    assert there.connections == 1


async def test_over_udp_each_message_is_one_datagram(tmp_path: Path) -> None:
    with udp_repository() as there:
        async with trail_of(settings(tmp_path, there.address, None)) as trail:
            for number in range(100):
                record(trail, f"1.2.{number}")
            found = await transferred(there, 100)
        assert {each.study for each in found} == {f"1.2.{number}" for number in range(100)}


async def test_a_repository_that_wants_a_client_certificate_gets_it(tmp_path: Path) -> None:
    own = certificates(tmp_path, requires_client=True)
    with tls_repository(own.server) as there:
        given = settings(
            tmp_path,
            there.address,
            own,
            audit_certificate_path=own.client_certificate,
            audit_key_path=own.client_key,
        )
        async with trail_of(given) as trail:
            record(trail)
            await transferred(there)
        names = dict(there.client_certificates[0]["subjectAltName"])
        assert names == {"DNS": "proxy.hospital.example"}


async def test_without_the_client_certificate_nothing_counts_as_sent(tmp_path: Path) -> None:
    own = certificates(tmp_path, requires_client=True)
    with tls_repository(own.server) as there:
        repository_ = repository(settings(tmp_path, there.address, own))
        with pytest.raises(NotSent):
            await asyncio.to_thread(repository_.send, [b"message"])
        await asyncio.to_thread(repository_.close)
        assert not there.messages


async def test_a_certificate_of_another_authority_is_refused(
    tmp_path: Path, own: Certificates
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    stranger = certificates(other)
    with tls_repository(stranger.server) as there:
        repository_ = repository(settings(tmp_path, there.address, own))
        with pytest.raises(NotSent, match="its certificate is refused"):
            await asyncio.to_thread(repository_.connect)
        assert there.connections == 0


async def test_an_old_tls_is_refused(tmp_path: Path, own: Certificates) -> None:
    own.server.minimum_version = ssl.TLSVersion.TLSv1
    own.server.maximum_version = ssl.TLSVersion.TLSv1_1
    own.server.set_ciphers("ALL:@SECLEVEL=0")
    with tls_repository(own.server) as there, pytest.raises(NotSent, match="TLS"):
        await asyncio.to_thread(repository(settings(tmp_path, there.address, own)).connect)


async def test_messages_wait_for_a_repository_that_is_down_and_are_all_sent(
    tmp_path: Path, own: Certificates, short_pauses: None
) -> None:
    port = free_port()
    given = settings(tmp_path, f"tls://localhost:{port}", own)
    failures = metrics.audit_failures._value.get()
    async with trail_of(given) as trail:
        for number in range(300):
            record(trail, f"1.2.{number}")
        await until(lambda: metrics.audit_failures._value.get() > failures)
        with tls_repository(own.server, port) as there:
            found = await transferred(there, 300)
    assert [each.study for each in found] == [f"1.2.{number}" for number in range(300)]


async def test_a_connection_that_is_cut_loses_no_message(
    tmp_path: Path, own: Certificates, short_pauses: None
) -> None:
    studies: set[str] = set()
    port = free_port()
    async with trail_of(settings(tmp_path, f"tls://localhost:{port}", own)) as trail:
        for round_ in range(5):
            with tls_repository(own.server, port) as there:
                record(trail, f"1.{round_}.1")
                await transferred(there)
                for number in range(2, 50):
                    record(trail, f"1.{round_}.{number}")
            # cut while some are under way
            studies |= {each.study for each in there.messages if "Transferred" in each.event}
        with tls_repository(own.server, port) as there:
            while not studies >= {f"1.{r}.{n}" for r in range(5) for n in range(1, 50)}:
                await transferred(there)
                found = there.messages[:]
                studies |= {each.study for each in found if "Transferred" in each.event}
                await asyncio.sleep(0.01)


async def test_messages_at_which_the_repository_hangs_up_delay_no_other(
    tmp_path: Path, own: Certificates, short_pauses: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with tls_repository(own.server) as there:
        there.hangs_up_at = b"1.2.666"
        async with trail_of(settings(tmp_path, there.address, own)) as trail:
            for study in ("1.2.666", "1.2.6661", "1.2.1", "1.2.2"):
                record(trail, study)
            others = await transferred(there, 2)
            assert {each.study for each in others} == {"1.2.1", "1.2.2"}
            record(trail, "1.2.3")
            await transferred(there, 3)
            await asyncio.to_thread(
                eventually,
                lambda: capsys.readouterr().out,
                lambda output: "takes other messages but not this one" in output,
            )
            there.hangs_up_at = b""
            found = await transferred(there, 5)
        assert {"1.2.666", "1.2.6661"} <= {each.study for each in found}


async def test_a_message_at_which_the_repository_hangs_up_does_not_hold_up_the_end(
    tmp_path: Path, own: Certificates, short_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dimse_ingestion.audit.trail._LAST_DELIVERY", 3600.0)
    with tls_repository(own.server) as there:
        there.hangs_up_at = b"1.2.666"
        async with asyncio.timeout(60), trail_of(settings(tmp_path, there.address, own)) as trail:
            for study in ("1.2.666", "1.2.1"):
                record(trail, study)
            await transferred(there)
        there.hangs_up_at = b""
        async with trail_of(settings(tmp_path, there.address, own)):
            found = await transferred(there, 2)
    assert {each.study for each in found} == {"1.2.666", "1.2.1"}


async def test_what_an_earlier_run_left_is_sent_by_the_next(
    tmp_path: Path, own: Certificates
) -> None:
    port = free_port()
    given = settings(tmp_path, f"tls://localhost:{port}", own)
    async with trail_of(given) as trail:
        record(trail)
    with tls_repository(own.server, port) as there:
        async with trail_of(given):
            (message,) = await transferred(there)
    assert message.study == "1.2.3"
    types = [each.type for each in there.messages]
    assert types == ["Application Start", "", "Application Stop", *types[3:]]
    assert types[3:] == ["Application Start", "Application Stop"]


async def test_each_process_has_a_queue_and_one_left_behind_is_sent_by_another(
    tmp_path: Path, own: Certificates
) -> None:
    port = free_port()
    given = settings(tmp_path, f"tls://localhost:{port}", own)
    async with trail_of(given) as first, trail_of(given) as second:
        record(first, "1.1")
        record(second, "1.2")
    with tls_repository(own.server, port) as there:
        async with trail_of(given):
            found = await transferred(there, 2)
            left = tmp_path / "queue" / "proxy-2"
            await until(lambda: not Folders(left).has_content())
    assert {each.study for each in found} == {"1.1", "1.2"}


async def test_a_queue_left_with_a_refused_message_holds_up_no_other(
    tmp_path: Path, own: Certificates, short_pauses: None
) -> None:
    port = free_port()
    given = settings(tmp_path, f"tls://localhost:{port}", own)
    async with trail_of(given), trail_of(given) as second, trail_of(given) as third:
        record(second, "1.2.666")
        record(third, "1.2.3")
    with tls_repository(own.server, port) as there:
        there.hangs_up_at = b"1.2.666"
        async with trail_of(given):
            (message,) = await transferred(there)
            await until(lambda: not Folders(tmp_path / "queue" / "proxy-3").has_content())
        assert message.study == "1.2.3"
        assert Folders(tmp_path / "queue" / "proxy-2").has_content()


async def test_the_files_of_the_queue_are_for_their_owner_alone(tmp_path: Path) -> None:
    given = settings(tmp_path, f"udp://127.0.0.1:{free_port()}", None)
    async with trail_of(given) as trail:
        record(trail)
        await until(lambda: bool(segments(tmp_path)))
    for path in (tmp_path / "queue").rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert any(b"Doe^Jane" in path.read_bytes() for path in segments(tmp_path))


def segments(folder: Path) -> list[Path]:
    return [each for each in (folder / "queue").rglob("*.segment") if each.stat().st_size]


async def test_a_full_queue_loses_messages_counts_them_and_fails_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = metrics.audit_lost._value.get()
    given = settings(tmp_path, f"tls://localhost:{free_port()}", None, audit_limit=1024 * 1024)
    async with trail_of(given) as trail:
        for number in range(500):
            record(trail, f"1.2.{number}")
        await until(lambda: metrics.audit_lost._value.get() > lost)
    assert "Audit messages are lost" in capsys.readouterr().out
    size = sum(each.stat().st_size for each in (tmp_path / "queue").rglob("*") if each.is_file())
    assert size < 8 * 2**20


async def test_recording_neither_waits_nor_fails_when_the_disk_is_gone(
    tmp_path: Path,
) -> None:
    lost = metrics.audit_lost._value.get()
    given = settings(tmp_path, f"tls://localhost:{free_port()}", None)
    async with trail_of(given) as trail:
        folder = tmp_path / "queue" / "proxy" / "segments"
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        for number in range(10):
            record(trail, f"1.2.{number}")
        await until(lambda: metrics.audit_lost._value.get() > lost)


async def test_a_folder_that_can_not_be_used_is_told_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("a file")
    given = settings(tmp_path, f"udp://127.0.0.1:{free_port()}", None)
    with pytest.raises(ConfigurationMistake, match="DIMSE_AUDIT_DIRECTORY"):
        async with trail_of(given):
            pass


async def test_a_port_where_nothing_listens_is_noticed_with_udp(tmp_path: Path) -> None:
    repository_ = repository(settings(tmp_path, f"udp://127.0.0.1:{free_port()}", None))
    with pytest.raises(NotSent):
        await asyncio.to_thread(repository_.send, [b"message"])


async def test_a_repository_that_reads_nothing_does_not_hold_up_the_end(
    tmp_path: Path, own: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "_TIMEOUT", 600.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        stopped = asyncio.Event()

        def serve() -> None:
            plain, _ = listener.accept()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with own.server.wrap_socket(plain, server_side=True):
                loop.call_soon_threadsafe(accepted.set)
                asyncio.run_coroutine_threadsafe(stopped.wait(), loop).result()

        loop, accepted = asyncio.get_running_loop(), asyncio.Event()
        serving = asyncio.create_task(asyncio.to_thread(serve))
        async with asyncio.timeout(60):
            async with trail_of(settings(tmp_path, f"tls://localhost:{port}", own)) as trail:
                await accepted.wait()
                for number in range(300):
                    record(trail, f"1.2.{number}", "x" * 900)
        stopped.set()
        await asyncio.gather(serving, return_exceptions=True)
