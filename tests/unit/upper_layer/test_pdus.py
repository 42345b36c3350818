import pytest
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ, A_RELEASE_RP, A_RELEASE_RQ

from dimse_ingestion.upper_layer.pdus import (
    Abort,
    AbortReason,
    AbortSource,
    decode_abort,
    encode_abort,
    encode_reject,
    encode_release_rp,
    encode_release_rq,
)
from dimse_ingestion.upper_layer.services import Rejection, RejectReason, RejectResult
from tests import requestor_bytes


@pytest.mark.parametrize("reason", RejectReason)
@pytest.mark.parametrize("result", RejectResult)
def test_a_rejection_has_result_source_and_reason(
    result: RejectResult, reason: RejectReason
) -> None:
    pdu = A_ASSOCIATE_RJ()
    pdu.decode(encode_reject(Rejection(result, reason, "not for the wire")))
    assert (pdu.result, pdu.source, pdu.reason_diagnostic) == (result, reason >> 4, reason & 15)


def test_a_provider_says_why_it_aborts_and_a_user_does_not() -> None:
    pdu = A_ABORT_RQ()
    pdu.decode(encode_abort(AbortSource.PROVIDER, AbortReason.UNEXPECTED_PDU))
    assert (pdu.source, pdu.reason_diagnostic) == (2, 2)
    pdu.decode(encode_abort(AbortSource.USER, AbortReason.UNEXPECTED_PDU))
    assert (pdu.source, pdu.reason_diagnostic) == (0, 0)


def test_release_pdus_are_the_standards() -> None:
    assert encode_release_rq() == requestor_bytes.release_rq() == A_RELEASE_RQ().encode()
    assert encode_release_rp() == requestor_bytes.release_rp() == A_RELEASE_RP().encode()


def test_an_abort_is_understood_however_short() -> None:
    assert decode_abort(bytes([0, 0, 2, 6])) == Abort(2, 6)
    assert decode_abort(b"") == Abort(0, 0)


def test_an_abort_is_described_in_a_sentence() -> None:
    by_provider, by_user = Abort(2, 6).description("D1"), Abort(0, 0).description("The peer")
    assert by_provider.startswith("D1 aborted the association (A-ABORT by its provider, reason 6)")
    assert by_user.startswith("The peer aborted the association (A-ABORT by its user, reason 0)")
