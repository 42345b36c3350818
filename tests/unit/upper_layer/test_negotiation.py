from collections.abc import Callable

import pytest
from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC
from pynetdicom.pdu_items import UserInformationItem

from dimse_ingestion.upper_layer.associate_items import Roles, UserInformation
from dimse_ingestion.upper_layer.negotiation import (
    Agreement,
    agree,
    association_request,
    provider_rejection,
)
from dimse_ingestion.upper_layer.pdus import ProtocolError
from dimse_ingestion.upper_layer.proposals import Proposal
from dimse_ingestion.upper_layer.services import Acceptance, PresentationContext, RejectReason
from tests.requestor_bytes import CT, EXPLICIT, IMPLICIT, STUDY_ROOT_FIND

PRIVATE = "1.3.46.670589.5.0.1"
JPEG_XL = "1.2.840.10008.1.2.4.110"


def proposal(
    contexts: dict[int, tuple[str, tuple[str, ...]]] | None = None,
    user: UserInformation | None = None,
) -> Proposal:
    return Proposal(
        protocol_version=1,
        called=b"DICOM-INGEST    ",
        calling=b"MODALITY        ",
        reserved=bytes(32),
        application_context_name="1.2.840.10008.3.1.1.1",
        contexts=contexts or {1: (CT, (EXPLICIT, IMPLICIT))},
        user=user or UserInformation(),
    )


def answer(agreement: Agreement) -> A_ASSOCIATE_AC:
    pdu = A_ASSOCIATE_AC()
    pdu.decode(agreement.answer)
    return pdu


def user_information(agreement: Agreement) -> UserInformationItem:
    information = answer(agreement).user_information
    assert information is not None
    return information


def results(agreement: Agreement) -> dict[int | None, int | None]:
    contexts = answer(agreement).presentation_context
    return {item.presentation_context_id: item.result for item in contexts}


def choosing(
    choice: str | None,
) -> Callable[[str, tuple[str, ...]], str | None]:
    return lambda _, __: choice


def first(_: str, transfer_syntaxes: tuple[str, ...]) -> str:
    return transfer_syntaxes[0]


def test_unknown_and_private_syntaxes_are_accepted_when_the_service_does() -> None:
    agreement = agree(
        proposal({1: (PRIVATE, (JPEG_XL, IMPLICIT)), 3: (PRIVATE, ("1.2.3",))}),
        Acceptance(first),
        4096,
    )
    assert agreement.contexts == {
        1: PresentationContext(1, PRIVATE, JPEG_XL),
        3: PresentationContext(3, PRIVATE, "1.2.3"),
    }
    assert results(agreement) == {1: 0, 3: 0}
    assert user_information(agreement).maximum_length == 4096


@pytest.mark.parametrize(
    ("choice", "result"), [(None, 3), ("", 4), ("1.2.3.not.proposed", 4), (IMPLICIT, 0)]
)
def test_a_choice_becomes_a_result(choice: str | None, result: int) -> None:
    agreement = agree(proposal(), Acceptance(choosing(choice)), 0)
    assert results(agreement) == {1: result}
    assert bool(agreement.contexts) is (result == 0)


def test_a_context_without_transfer_syntaxes_is_refused() -> None:
    assert results(agree(proposal({1: (CT, ())}), Acceptance(choosing("")), 0)) == {1: 4}


@pytest.mark.parametrize(
    ("offered", "answered"),
    [(None, None), ((0, 0), (1, 1)), ((1, 1), (1, 1)), ((8, 2), (1, 1)), ((0, 1), (1, 1))],
)
def test_asynchronous_operations_are_limited_to_one_if_proposed(
    offered: tuple[int, int] | None, answered: tuple[int, int] | None
) -> None:
    user = UserInformation(asynchronous_operations=offered)
    operations_window = user_information(
        agree(proposal(user=user), Acceptance(first), 0)
    ).async_ops_window
    seen = operations_window and (
        operations_window.max_operations_invoked,
        operations_window.max_operations_performed,
    )
    assert seen == answered


@pytest.mark.parametrize(
    ("offered", "granted", "result"),
    [
        (Roles(scu=True, scp=False), (True, False), 0),
        (Roles(scu=True, scp=True), (True, False), 0),
        (Roles(scu=False, scp=True), None, 1),
    ],
)
def test_a_requestor_may_be_an_scu_only(
    offered: Roles, granted: tuple[bool, bool] | None, result: int
) -> None:
    agreement = agree(proposal(user=UserInformation(roles={CT: offered})), Acceptance(first), 0)
    assert results(agreement) == {1: result}
    role = user_information(agreement).role_selection.get(UID(CT))
    seen = (bool(role.scu_role), bool(role.scp_role)) if role else None
    assert seen == granted


def test_extended_negotiation_is_answered_for_accepted_classes_only() -> None:
    acceptance = Acceptance(first, extended={CT: b"\x01", STUDY_ROOT_FIND: b"\x02"})
    information = user_information(agree(proposal(), acceptance, 0))
    assert [(item.sop_class_uid, item.app_info) for item in information.ext_neg] == [(CT, b"\x01")]


def test_a_service_gets_the_whole_association_request() -> None:
    user = UserInformation(0, "1.2.3", "SCANNER", extended={CT: b"\x01"})
    request = association_request(proposal(user=user), "id", "10.0.0.1", 4711)
    assert request.called_ae_title == "DICOM-INGEST"
    assert request.calling_ae_title == "MODALITY"
    assert (request.peer_address, request.peer_port) == ("10.0.0.1", 4711)
    assert request.implementation_class_uid == "1.2.3"
    assert request.implementation_version_name == "SCANNER"
    assert request.proposed == {1: (CT, (EXPLICIT, IMPLICIT))}
    assert request.extended == {CT: b"\x01"}


def test_the_provider_refuses_other_protocols() -> None:
    other_version, other_application = proposal(), proposal()
    other_version.protocol_version = 2
    other_application.application_context_name = "1.2.3"
    refused = [provider_rejection(each) for each in (other_version, other_application)]
    assert [each and each.reason for each in refused] == [
        RejectReason.PROTOCOL_VERSION_NOT_SUPPORTED,
        RejectReason.APPLICATION_CONTEXT_NOT_SUPPORTED,
    ]
    assert provider_rejection(proposal()) is None


def test_a_peer_that_takes_next_to_nothing_is_refused() -> None:
    for taken in (0, 14, 64, 127, 128):
        assert provider_rejection(proposal(user=UserInformation(taken))) is None
    for taken in (1, 13):
        with pytest.raises(ProtocolError):
            provider_rejection(proposal(user=UserInformation(taken)))


def test_a_context_without_an_abstract_syntax_is_refused() -> None:
    nothing = proposal({1: ("", (EXPLICIT,))})
    answered = agree(nothing, Acceptance(lambda _, syntaxes: syntaxes[0]), 4096)
    assert not answered.contexts
