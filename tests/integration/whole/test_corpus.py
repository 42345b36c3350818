"""The corpus stored through the proxy, and given back by C-GET and C-MOVE.

Byte for byte where the receiver takes what is stored, and pixel for pixel where it takes native
transfer syntaxes only; pixels are decoded by pydicom and by DCMTK.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt

from harness import modalities
from harness.nats_server import nats_server
from harness.ports import free_port
from harness.scu import store
from tests.corpus import BIG, EXPLICIT, IMPLICIT, NATIVE, SIZE, CorpusInstance, corpus
from tests.corpus_images import STUDY
from tests.decoded import (
    as_file,
    by_dcmtk,
    by_pydicom,
    dcmtk_decodes,
    decoded_by_dcmtk,
    difference,
    other_elements,
)
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_retrieving import STUDY_ROOT_GET, counts, data_set_of, workstation

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
VIDEO = "video"  # what no decoder here turns into images
GREY_LEVELS = 3
"""The most that two decoders of the same lossy image differ by."""


@dataclass(frozen=True)
class Stored:
    """The corpus in a system; `port` is that of the move destination NATIVE."""

    system: System
    instances: list[CorpusInstance]
    port: int

    def by_uid(self) -> dict[str, CorpusInstance]:
        return {each.sop_instance_uid: each for each in self.instances}

    def data_sets(self) -> dict[str, bytes]:
        """Return the sent bytes by SOP instance UID."""
        return {
            each.sop_instance_uid: data_set_of(each.path.read_bytes()) for each in self.instances
        }


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder, port = tmp_path_factory.mktemp("corpus"), free_port()
    peers: list[dict[str, Any]] = [
        {"aeTitle": "WS1", "may": ["get", "move"]},
        {"aeTitle": "RECEIVER", "host": "127.0.0.1", "port": port},
    ]
    rights = {"DIMSE_RETRIEVE_ENABLED": "true", "DIMSE_PEERS": json.dumps(peers)}
    instances = corpus(folder / "files")
    with nats_server(folder / "nats") as nats:
        system = started(folder / "space", nats, 1, **rights)
        try:
            answers = store(system.peer, [each.path for each in instances])
            assert {each.status for each in answers} == {0}
            yield Stored(system, instances, port)
        finally:
            system.space.close()


def query() -> Any:
    identifier: Any = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", STUDY
    return identifier


class Receiver:
    """Takes C-STOREs; what it received by SOP instance UID: the data set and its syntax."""

    def __init__(self) -> None:
        self.received: dict[str, tuple[bytes, str]] = {}

    def store(self, event: evt.Event) -> int:
        request: Any = event.request
        syntax = str(event.context.transfer_syntax)
        self.received[str(request.AffectedSOPInstanceUID)] = request.DataSet.getvalue(), syntax
        return 0


def get(stored: Stored, receiver: Receiver, syntaxes: list[str] | None) -> Any:
    """Perform a C-GET with these transfer syntaxes, or the stored ones; return the last answer."""
    peer = workstation(stored.system)
    ae = AE(ae_title=peer.calling)
    ae.dimse_timeout = ae.network_timeout = 120
    ae.add_requested_context(STUDY_ROOT_GET)
    pairs = {
        (each.sop_class_uid, each.transfer_syntax_uid if syntaxes is None else "")
        for each in stored.instances
    }
    for sop_class_uid, syntax in sorted(pairs):
        ae.add_requested_context(sop_class_uid, syntaxes or [syntax])
    roles: list[Any] = [build_role(UID(uid), scp_role=True) for uid in {uid for uid, _ in pairs}]
    association = ae.associate(
        peer.host,
        peer.port,
        ae_title=peer.called,
        ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, receiver.store)],
    )
    assert association.is_established
    *_, (final, _) = association.send_c_get(query(), STUDY_ROOT_GET)
    association.release()
    return final


def move(stored: Stored, receiver: Receiver, syntaxes: list[str] | None) -> Any:
    """Perform a C-MOVE to a destination that takes these transfer syntaxes, or all."""
    destination = AE("RECEIVER")
    for each in stored.instances:
        destination.add_supported_context(
            each.sop_class_uid, syntaxes or [each.transfer_syntax_uid]
        )
    server: Any = destination.start_server(
        ("127.0.0.1", stored.port), block=False, evt_handlers=[(evt.EVT_C_STORE, receiver.store)]
    )
    try:
        peer = workstation(stored.system)
        ae = AE(ae_title=peer.calling)
        ae.dimse_timeout = ae.network_timeout = 120
        ae.add_requested_context(STUDY_ROOT_MOVE)
        association = ae.associate(peer.host, peer.port, ae_title=peer.called)
        assert association.is_established
        *_, (final, _) = association.send_c_move(query(), "RECEIVER", STUDY_ROOT_MOVE)
        association.release()
        return final
    finally:
        server.shutdown()


OPERATIONS = pytest.mark.parametrize("retrieve", [get, move], ids=["C-GET", "C-MOVE"])


def test_the_corpus_is_stored_byte_for_byte(stored: Stored) -> None:
    objects = {
        path.stem: data_set_of(path.read_bytes())
        for path in stored.system.space.bucket.rglob("*.dcm")
    }
    assert objects == stored.data_sets()
    assert len(objects) == SIZE


@OPERATIONS
async def test_it_comes_back_byte_for_byte(stored: Stored, retrieve: Any) -> None:
    receiver = Receiver()
    final = await asyncio.to_thread(retrieve, stored, receiver, None)
    assert (final.Status, counts(final)) == (0, (SIZE, 0, 0, None))
    received = {uid: data_set for uid, (data_set, _) in receiver.received.items()}
    assert received == stored.data_sets()


@OPERATIONS
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
async def test_it_comes_pixel_for_pixel_where_only_a_native_syntax_is_taken(
    stored: Stored, retrieve: Any, syntax: str, tmp_path: Path
) -> None:
    receiver = Receiver()
    final = await asyncio.to_thread(retrieve, stored, receiver, [syntax])
    assert (final.Status, counts(final)) == (0xB000, (SIZE - 1, 1, 0, None))
    instances = stored.by_uid()
    assert {instances[uid].name for uid in instances.keys() - receiver.received.keys()} == {VIDEO}
    assert {syntax} == {syntax for _, syntax in receiver.received.values()}
    compared = [
        asyncio.to_thread(compare, instances[uid], data_set, syntax, tmp_path)
        for uid, (data_set, _) in receiver.received.items()
    ]
    assert [each for each in await asyncio.gather(*compared) if each] == []


def compare(instance: CorpusInstance, data_set: bytes, syntax: str, folder: Path) -> str:
    """Return what is wrong with a received instance, or nothing."""
    path = as_file(data_set, syntax, folder / f"{instance.path.stem}.{syntax}")
    # pydicom leaves big endian words as they are
    is_big = instance.transfer_syntax_uid == BIG
    original = decoded_by_dcmtk(instance.path) if is_big else instance.path
    expected, received = (
        other_elements(dcmread(each), private=syntax == EXPLICIT) for each in (original, path)
    )
    if received != expected:
        return f"{instance.name}: other elements"
    if by_pydicom_differs := difference(by_pydicom(path), by_pydicom(instance.path)):
        return f"{instance.name}: pydicom differs by {by_pydicom_differs}"
    if not dcmtk_decodes(instance.transfer_syntax_uid):
        return "" if difference(by_dcmtk(path), by_pydicom(path)) == 0 else instance.name
    differs = difference(by_dcmtk(path), by_dcmtk(instance.path))
    if differs > (GREY_LEVELS if instance.is_lossy else 0):
        return f"{instance.name}: DCMTK differs by {differs}"
    return ""


def test_the_corpus_has_every_kind(stored: Stored) -> None:
    syntaxes = {each.transfer_syntax_uid for each in stored.instances}
    assert syntaxes > NATIVE
    assert len(syntaxes) == 18
    assert len({each.sop_class_uid for each in stored.instances}) == 18
    assert len({each.name for each in stored.instances}) == len(stored.instances) == SIZE
