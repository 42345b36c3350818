"""The answers to N-ACTION, by the bridge with its journal."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.proxy.bridge import Bridge
from dimse_ingestion.proxy.commitment import action_information
from dimse_ingestion.proxy.commitment.reports import Report
from dimse_ingestion.proxy.commitment.service import StorageCommitment, open_commitment
from dimse_ingestion.settings import Peer
from dimse_ingestion.spooling.spool import Limits, Spool
from dimse_ingestion.upper_layer.services import (
    Command,
    CommandField,
    PresentationContext,
    Rejection,
)
from tests.unit.proxy.commitment_examples import (
    FakeSender,
    accepted,
    action_data_set,
    encoded,
    references,
)
from tests.unit.proxy.fakes import (
    Association,
    FakeMessage,
    FakeRequester,
    association_request,
    proxy_settings,
)

IMPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN
PEERS = (
    Peer(ae_title="CT1", host="127.0.0.1", port=104, may=frozenset({"commit"})),
    Peer(ae_title="WS1", host="127.0.0.1", port=104),
    Peer(ae_title="VIEWER", may=frozenset({"get"})),
)
ANY_TIME = 3600.0


class Proxy:
    """A bridge with storage commitment."""

    def __init__(self, folder: Path, commitment: StorageCommitment | None, enabled: bool) -> None:
        settings = proxy_settings(
            storage_commitment_enabled=enabled, peers=PEERS, spool_directory=folder / "spool"
        )
        self.spool = Spool(folder / "spool", Limits())
        self.spool.prepare()
        self.admission = Admission(settings, lambda: "")
        self.bridge = Bridge(settings, self.admission, self.spool, FakeRequester(), commitment)

    async def answer(
        self,
        data_set: bytes | None = None,
        calling_ae_title: str = "CT1",
        abstract_syntax: str = uids.STORAGE_COMMITMENT,
        **changed: object,
    ) -> tuple[Status, str]:
        """Return the status and the comment of the response to an N-ACTION."""
        fields: dict[str, object] = {
            "command_field": CommandField.N_ACTION_RQ,
            "message_id": 7,
            "affected_sop_class_uid": uids.STORAGE_COMMITMENT,
            "affected_sop_instance_uid": uids.STORAGE_COMMITMENT_INSTANCE,
            "action_type_id": 1,
            "has_data_set": data_set != b"",
        }
        command = Command(**(fields | changed))  # type: ignore[arg-type] # by name
        association = Association(association_request(calling_ae_title=calling_ae_title))
        context = PresentationContext(1, abstract_syntax, IMPLICIT)
        message = FakeMessage(context, command, association=association)
        if data_set != b"":
            sink = self.bridge.open_data_set(association, context, command)
            sink.write(encoded(action_data_set()) if data_set is None else data_set)
            message.data_set = sink
        await self.bridge.perform(message)
        ((status, comment, _),) = message.responses
        return status, comment


@pytest_asyncio.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    settings = proxy_settings(
        storage_commitment_enabled=True,
        storage_commitment_directory=tmp_path / "journal",
        peers=PEERS,
    )
    async with open_commitment(settings, FakeRequester(), SilentSender()) as commitment:
        proxy = Proxy(tmp_path, commitment, enabled=True)
        yield proxy
        proxy.spool.close()


class SilentSender(FakeSender):
    """A sender that gets no response: transactions stay in the journal."""

    async def send(self, report: Report) -> None:
        await self.arrived.wait()


def transactions(folder: Path) -> int:
    return len(list((folder / "journal" / "1").glob("*.transaction")))


async def test_success_is_answered_after_the_request_is_durable(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(True)

    monkeypatch.setattr(os, "fsync", recording)
    assert await proxy.answer() == (Status.SUCCESS, "")
    assert len(synced) >= 2
    assert transactions(tmp_path) == 1


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"affected_sop_instance_uid": "1.2.3"}, Status.NO_SUCH_SOP_INSTANCE),
        ({"affected_sop_instance_uid": ""}, Status.NO_SUCH_SOP_INSTANCE),
        ({"action_type_id": 2}, Status.NO_SUCH_ACTION_TYPE),
        ({"action_type_id": 0}, Status.NO_SUCH_ACTION_TYPE),
        ({"affected_sop_class_uid": "1.2.840.10008.1.20.2"}, Status.NO_SUCH_SOP_CLASS),
        ({"abstract_syntax": "1.2.840.10008.1.1"}, Status.NO_SUCH_SOP_CLASS),
        ({"calling_ae_title": "STRANGER"}, Status.PROCESSING_FAILURE),
        ({"calling_ae_title": "VIEWER"}, Status.PROCESSING_FAILURE),
        ({"calling_ae_title": "WS1"}, Status.NOT_AUTHORIZED),
        ({"data_set": b"no data set at all" * 5}, Status.PROCESSING_FAILURE),
    ],
)
async def test_what_is_refused_has_a_reason_and_is_not_recorded(
    changed: dict[str, object], status: Status, proxy: Proxy, tmp_path: Path
) -> None:
    answered, comment = await proxy.answer(**changed)  # type: ignore[arg-type] # by name
    assert answered == status
    assert comment
    assert transactions(tmp_path) == 0


@pytest.mark.parametrize(
    "data_set", [b"", encoded(action_data_set([])), encoded(action_data_set(transaction_uid=""))]
)
async def test_a_missing_or_empty_field_has_no_comment(
    data_set: bytes, proxy: Proxy, tmp_path: Path
) -> None:
    assert await proxy.answer(data_set) == (Status.INVALID_ARGUMENT_VALUE, "")
    assert transactions(tmp_path) == 0


async def test_the_same_request_again_is_the_same_transaction(proxy: Proxy, tmp_path: Path) -> None:
    assert [await proxy.answer() for _ in range(3)] == [(Status.SUCCESS, "")] * 3
    assert transactions(tmp_path) == 1


async def test_other_references_under_a_transaction_uid_in_use_are_a_duplicate(
    proxy: Proxy, tmp_path: Path
) -> None:
    await proxy.answer()
    assert (await proxy.answer(encoded(action_data_set(references(2)))))[0] is Status.SUCCESS
    journal = [
        each.read_bytes() for each in sorted((tmp_path / "journal" / "1").glob("*.transaction"))
    ]
    assert [b'"is_duplicate":true' in each for each in journal] == [False, True]


async def test_two_aes_may_use_one_transaction_uid(tmp_path: Path) -> None:
    both = tuple(
        Peer(ae_title=title, host="127.0.0.1", port=104, may=frozenset({"commit"}))
        for title in ("CT1", "CT2")
    )
    settings = proxy_settings(
        storage_commitment_enabled=True,
        storage_commitment_directory=tmp_path / "journal",
        peers=both,
    )
    async with open_commitment(settings, FakeRequester(), SilentSender()) as commitment:
        proxy = Proxy(tmp_path, commitment, enabled=True)
        await proxy.answer()
        await proxy.answer(encoded(action_data_set(references(2))), calling_ae_title="CT2")
        proxy.spool.close()
    assert b"true" not in b"".join(
        each.read_bytes() for each in (tmp_path / "journal" / "1").glob("*.transaction")
    )


async def test_a_full_disk_is_a_resource_limitation(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", failing(errno.ENOSPC))
    assert (await proxy.answer())[0] is Status.RESOURCE_LIMITATION
    assert transactions(tmp_path) == 0


async def test_a_broken_disk_is_a_processing_failure(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    status, comment = await proxy.answer()
    assert status is Status.PROCESSING_FAILURE
    assert str(tmp_path) not in comment
    assert transactions(tmp_path) == 0


def failing(number: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(number, "broken")

    return fail


async def test_too_many_references_are_a_resource_limitation(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_information, "MOST_REFERENCES", 2)
    assert (await proxy.answer())[0] is Status.RESOURCE_LIMITATION


async def test_action_information_without_end_is_a_resource_limitation(proxy: Proxy) -> None:
    too_long = bytes(action_information.LONGEST + 1)
    assert (await proxy.answer(too_long))[0] is Status.RESOURCE_LIMITATION


@pytest.mark.parametrize("enabled", [True, False])
async def test_commitment_is_negotiated_only_where_it_is_enabled(
    *, enabled: bool, tmp_path: Path
) -> None:
    proxy = Proxy(tmp_path, None, enabled=enabled)
    decision = proxy.admission.decide(association_request())
    assert not isinstance(decision, Rejection)
    choice = decision.choose(uids.STORAGE_COMMITMENT, (IMPLICIT,))
    assert choice == (IMPLICIT if enabled else None)
    proxy.spool.close()


async def test_without_commitment_an_action_is_unrecognized(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, None, enabled=False)
    assert (await proxy.answer())[0] is Status.UNRECOGNIZED_OPERATION
    proxy.spool.close()


async def test_a_request_is_reported_after_its_response(tmp_path: Path) -> None:
    settings = proxy_settings(
        storage_commitment_enabled=True,
        storage_commitment_directory=tmp_path / "journal",
        peers=PEERS,
    )
    sender = FakeSender()
    async with open_commitment(settings, FakeRequester(), sender) as commitment:
        proxy = Proxy(tmp_path, commitment, enabled=True)
        assert (await proxy.answer())[0] is Status.SUCCESS
        await sender.arrived.wait()
        proxy.spool.close()
    (report,) = sender.sent
    assert report.accepted.references == accepted().references
    assert report.accepted.called_ae_title == "DICOM-INGEST"


async def test_each_worker_has_a_journal_and_the_first_adopts_those_of_none(
    tmp_path: Path,
) -> None:
    settings = proxy_settings(
        storage_commitment_enabled=True,
        storage_commitment_directory=tmp_path / "journal",
        peers=PEERS,
        workers=2,
    )
    for number in (1, 2):
        async with open_commitment(
            settings, FakeRequester(), SilentSender(), worker_number=number
        ) as commitment:
            proxy = Proxy(tmp_path, commitment, enabled=True)
            await proxy.answer(encoded(action_data_set(transaction_uid=f"1.2.{number}")))
            proxy.spool.close()
    assert transactions(tmp_path) == 1
    one = settings.model_copy(update={"workers": 1})
    async with open_commitment(one, FakeRequester(), SilentSender()):
        assert transactions(tmp_path) == 2


async def test_an_ae_that_a_reload_adds_may_request(tmp_path: Path) -> None:
    settings = proxy_settings(
        storage_commitment_enabled=True, storage_commitment_directory=tmp_path / "journal"
    )
    async with open_commitment(settings, FakeRequester(), SilentSender()) as commitment:
        proxy = Proxy(tmp_path, commitment, enabled=True)
        assert (await proxy.answer())[0] is Status.PROCESSING_FAILURE
        settings.take_over(settings.model_copy(update={"peers": PEERS}))
        assert (await proxy.answer())[0] is Status.SUCCESS
        proxy.spool.close()
