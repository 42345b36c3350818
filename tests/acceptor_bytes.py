"""What an acceptor answers, as bytes by pynetdicom's encoders: a second reading of the standard."""

from collections.abc import Mapping, Sequence
from typing import Any

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

from tests.requestor_bytes import command, user_information


def associate_ac(
    answers: Mapping[int, tuple[int, str]], items: Sequence[Any] = (), maximum_length: int = 16382
) -> bytes:
    """Return an A-ASSOCIATE-AC; `answers` are result and transfer syntax by context id."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "MODALITY", "DICOM-INGEST"
    contexts = []
    for context_id, (result, transfer_syntax) in answers.items():
        context = build_context("1.2.3", [transfer_syntax])
        context.context_id, context.result = context_id, result
        contexts.append(context)
    primitive.presentation_context_definition_results_list = contexts
    primitive.result = 0
    primitive.user_information = [*user_information(maximum_length), *items]
    return bytes(A_ASSOCIATE_AC(primitive).encode())


def associate_rj(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ."""
    primitive = A_ASSOCIATE()
    primitive.result, primitive.result_source, primitive.diagnostic = result, source, reason
    return bytes(A_ASSOCIATE_RJ(primitive).encode())


def response(command_field: int, message_id: int, status: int = 0, **elements: Any) -> bytes:
    """Return a response's command set; `command_field` is its request's."""
    return command(
        command_field | 0x8000,
        MessageID=None,
        MessageIDBeingRespondedTo=message_id,
        Status=status,
        **elements,
    )
