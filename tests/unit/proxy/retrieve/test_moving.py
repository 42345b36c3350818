"""C-MOVE requests before any association: rights, destinations, and contexts to propose."""

from dataclasses import replace

import pytest
from msgspec import structs

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.proxy.retrieve.move_contexts import proposals
from dimse_ingestion.proxy.retrieve.negotiation import is_retrievable_by
from dimse_ingestion.settings.peers import Peer
from dimse_ingestion.upper_layer.requestor_negotiation import MOST_CONTEXTS, ProposedContext
from tests.unit.proxy.fakes import CT, EXPLICIT, FakeMessage, proxy_settings
from tests.unit.proxy.retrieve.test_retrieval import (
    JPEG,
    ORIGIN,
    get_message,
    instance,
    record,
    requester,
    service,
)

PEERS = (
    Peer(ae_title="WS1", may=frozenset({"move"})),
    Peer(ae_title="GETTER", may=frozenset({"get"})),
    Peer(ae_title="ARCHIVE", host="127.0.0.1", port=1),
)
NATIVE = ProposedContext(CT, (EXPLICIT, uids.IMPLICIT_VR_LITTLE_ENDIAN))


def move_message(destination: str, calling: str = "WS1") -> FakeMessage:
    message = get_message(calling, uids.STUDY_ROOT_MOVE)
    message.command = replace(message.command, move_destination=destination)
    return message


@pytest.mark.parametrize(
    ("destination", "calling", "status"),
    [
        ("NOBODY", "WS1", Status.MOVE_DESTINATION_UNKNOWN),
        ("WS1", "WS1", Status.MOVE_DESTINATION_UNKNOWN),
        ("archive", "WS1", Status.MOVE_DESTINATION_UNKNOWN),
        ("", "WS1", Status.MOVE_DESTINATION_UNKNOWN),
        ("ARCHIVE", "GETTER", Status.NOT_AUTHORIZED),
        ("ARCHIVE", "STRANGER", Status.NOT_AUTHORIZED),
    ],
)
async def test_a_move_that_can_not_begin_reaches_no_service(
    destination: str, calling: str, status: Status
) -> None:
    client = requester(1)
    with pytest.raises(DimseFailure) as raised:
        await service(client, peers=PEERS).move(
            move_message(destination, calling), record(), ORIGIN
        )
    assert raised.value.status is status
    assert client.retrieves == []


@pytest.mark.parametrize(
    ("calling", "peers", "enabled", "is_retrievable"),
    [
        ("WS1", PEERS, True, True),
        ("WS1", PEERS, False, False),
        ("WS1", PEERS[:2], True, False),  # nobody has an address: each C-MOVE would be A801
        ("GETTER", PEERS[:2], True, True),
        ("ARCHIVE", PEERS, True, False),
        ("STRANGER", PEERS, True, False),
    ],
)
def test_instances_are_online_for_a_caller_whose_retrieve_would_be_served(
    calling: str, peers: tuple[Peer, ...], enabled: bool, is_retrievable: bool
) -> None:
    settings = proxy_settings(peers=peers, retrieve_enabled=enabled)
    assert is_retrievable_by(settings, calling) is is_retrievable


async def test_a_destination_that_is_not_reached_fails_every_instance() -> None:
    client, message = requester(2), move_message("ARCHIVE")
    facts = record()
    await service(client, peers=PEERS).move(message, facts, ORIGIN)
    assert message.statuses == [Status.PENDING, Status.UNABLE_TO_PERFORM_SUB_OPERATIONS]
    assert facts.facts["destination"] == "ARCHIVE"
    assert "127.0.0.1" not in message.responses[-1][1]


def test_each_stored_syntax_is_proposed_alone_and_native_ones_once() -> None:
    instances = [instance(0), instance(1, JPEG), instance(2)]
    assert proposals(instances) == [
        {CT: [ProposedContext(CT, (EXPLICIT,)), ProposedContext(CT, (JPEG,)), NATIVE]}
    ]


def test_no_association_has_more_contexts_than_it_can() -> None:
    classes = [f"1.2.{number}" for number in range(100)]
    instances = [structs.replace(instance(0), sop_class_uid=each) for each in classes]
    associations = proposals(instances)
    assert [len(each) for each in associations] == [64, 36]
    assert [name for each in associations for name in each] == classes
    many = [instance(0, f"1.9.{number}") for number in range(200)]
    ((contexts,),) = [list(each.values()) for each in proposals(many)]
    assert len(contexts) == MOST_CONTEXTS
    assert contexts[-1] == NATIVE
