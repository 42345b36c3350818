import pytest

from dimse_ingestion.upper_layer.decisions import decide
from dimse_ingestion.upper_layer.negotiation import Agreement, association_request
from dimse_ingestion.upper_layer.proposals import decode
from dimse_ingestion.upper_layer.services import (
    Acceptance,
    AssociationRequest,
    Rejection,
    RejectReason,
    RejectResult,
)
from tests.recording_services import RecordingServices
from tests.requestor_bytes import associate_rq
from tests.silent_association import SilentAssociation

PROPOSAL = decode(associate_rq()[6:])
NO = Rejection(RejectResult.PERMANENT, RejectReason.NO_REASON_GIVEN, "no")


class Handle(SilentAssociation):
    """An association that only has its request."""

    request = association_request(PROPOSAL, "id", "10.0.0.1", 1)

    def abort(self, explanation: str) -> None:
        raise AssertionError(explanation)


class Broken(RecordingServices):
    async def associate(self, request: AssociationRequest) -> Acceptance | Rejection:
        raise RuntimeError("broken")


def fails(_: str, __: tuple[str, ...]) -> str:
    raise RuntimeError("broken")


async def test_an_acceptance_becomes_an_agreement() -> None:
    decided = await decide(RecordingServices(), Handle(), PROPOSAL, 4096)
    assert isinstance(decided, Agreement)
    assert list(decided.contexts) == [1]


async def test_a_rejection_stays_one() -> None:
    assert await decide(RecordingServices(decision=NO), Handle(), PROPOSAL, 4096) is NO


@pytest.mark.parametrize(
    ("services", "ends"),
    [(Broken(), []), (RecordingServices(decision=Acceptance(fails)), ["aborted"])],
    ids=["associate", "choose"],
)
async def test_a_mistake_of_the_service_is_a_transient_rejection(
    services: RecordingServices, ends: list[str]
) -> None:
    decided = await decide(services, Handle(), PROPOSAL, 4096)
    assert isinstance(decided, Rejection)
    assert decided.result is RejectResult.TRANSIENT
    assert services.ends == ends
