from ipaddress import ip_network

import pytest

from dimse_ingestion.proxy.acceptance import Admission
from dimse_ingestion.settings.peers import Peer
from dimse_ingestion.upper_layer.services import Acceptance, Rejection, RejectReason, RejectResult
from tests.unit.proxy.fakes import CT, EXPLICIT, STUDY_ROOT, association_request, proxy_settings


def admission(*, spool_problem: str = "", **changed: object) -> Admission:
    return Admission(
        proxy_settings(**changed),
        spool_problem=lambda: spool_problem,
    )


def refused(decision: Acceptance | Rejection) -> tuple[RejectResult, RejectReason]:
    assert isinstance(decision, Rejection)
    assert decision.explanation
    return decision.result, decision.reason


def test_every_calling_title_and_address_is_let_in_by_default() -> None:
    decision = admission().decide(association_request())
    assert isinstance(decision, Acceptance)
    assert decision.choose(CT, (EXPLICIT,)) == EXPLICIT


def test_a_wrong_called_title_is_refused_for_good_unless_any_will_do() -> None:
    request = association_request(called_ae_title="OTHER")
    reason = (RejectResult.PERMANENT, RejectReason.CALLED_AE_TITLE_NOT_RECOGNIZED)
    assert refused(admission().decide(request)) == reason
    tolerant = admission(called_ae_title_must_match=False)
    assert isinstance(tolerant.decide(request), Acceptance)


def test_only_listed_calling_titles_are_let_in() -> None:
    picky = admission(calling_ae_titles=("CT1",))
    assert isinstance(picky.decide(association_request()), Acceptance)
    reason = (RejectResult.PERMANENT, RejectReason.CALLING_AE_TITLE_NOT_RECOGNIZED)
    assert refused(picky.decide(association_request(calling_ae_title="CT2"))) == reason


@pytest.mark.parametrize(
    ("address", "let_in"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1%eth0", True),
        ("10.2.0.1", False),
        ("fe80::1", False),
        ("", False),
    ],
)
def test_only_listed_networks_are_let_in(address: str, let_in: bool) -> None:
    picky = admission(source_networks=(ip_network("10.1.0.0/16"), ip_network("fd00::/8")))
    assert isinstance(picky.decide(association_request(peer_address=address)), Acceptance) is let_in


def test_one_association_too_many_is_refused_as_transient_and_accepted_later() -> None:
    small = admission(maximum_associations=1)
    first = association_request()
    assert isinstance(small.decide(first), Acceptance)
    reason = (RejectResult.TRANSIENT, RejectReason.LOCAL_LIMIT_EXCEEDED)
    second = association_request(association_id="a2")
    assert refused(small.decide(second)) == reason
    small.association_ended(second, "rejected")
    assert small.open_associations == 1
    small.association_ended(first, "released")
    small.association_ended(first, "released")
    assert small.open_associations == 0
    assert isinstance(small.decide(second), Acceptance)


def test_a_full_spool_and_a_drain_are_transient() -> None:
    reason = (RejectResult.TRANSIENT, RejectReason.TEMPORARY_CONGESTION)
    assert (
        refused(admission(spool_problem="The spool is full.").decide(association_request()))
        == reason
    )
    draining = admission()
    draining.draining = True
    assert refused(draining.decide(association_request())) == reason


@pytest.mark.parametrize(
    ("role_request", "answered"),
    [(b"\x01", b"\x01"), (b"\x00", b"\x00"), (b"\x01\x01\x01\x01\x01", b"\x01\x01\0\0\0")],
)
def test_relational_queries_and_combined_date_time_are_agreed_to_and_nothing_else(
    role_request: bytes, answered: bytes
) -> None:
    decision = admission().decide(
        association_request(extended={STUDY_ROOT: role_request, CT: b"\x02"})
    )
    assert isinstance(decision, Acceptance)
    assert decision.extended == {STUDY_ROOT: answered}


def test_the_lists_of_classes_and_syntaxes_narrow_what_is_accepted() -> None:
    narrow = admission(image_sop_classes=(CT,), transfer_syntaxes=(EXPLICIT,))
    decision = narrow.decide(association_request())
    assert isinstance(decision, Acceptance)
    assert decision.choose(CT, ("1.2.840.10008.1.2", EXPLICIT)) == EXPLICIT
    assert decision.choose(CT, ("1.2.840.10008.1.2",)) == ""
    assert decision.choose("1.3.46.670589.2.5.1.1", (EXPLICIT,)) is None


BIG, JPEG, IMPLICIT = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2"


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ((JPEG, BIG, IMPLICIT, EXPLICIT), EXPLICIT),
        ((JPEG, BIG, IMPLICIT), IMPLICIT),
        ((JPEG, BIG), JPEG),
        ((BIG, JPEG), JPEG),  # nothing is converted to big endian
        ((BIG,), BIG),
    ],
)
def test_a_context_of_a_get_has_the_transfer_syntax_in_which_most_can_be_sent(
    proposed: tuple[str, ...], chosen: str
) -> None:
    peers = (Peer(ae_title="CT1", may=frozenset({"get"})),)
    getting = admission(retrieve_enabled=True, peers=peers)
    decision = getting.decide(association_request(proposed_scp={CT: True}))
    assert isinstance(decision, Acceptance)
    assert decision.choose(CT, proposed) == chosen
    decision = getting.decide(association_request())  # an SCU of C-STORE
    assert isinstance(decision, Acceptance)
    assert decision.choose(CT, proposed) == proposed[0]
