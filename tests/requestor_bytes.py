"""What a requestor sends, as bytes by pynetdicom's and pydicom's encoders: a second reading of the
standard, so that a mistake of ours can't hide on both sides.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pydicom import Dataset
from pynetdicom.dsutils import encode
from pynetdicom.pdu import (
    A_ABORT_RQ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    P_DATA_TF,
)
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.pdu_primitives import (
    A_ABORT,
    A_ASSOCIATE,
    A_RELEASE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
INSTANCE = "1.2.826.0.1.3680043.8.498.1"
COMMAND, LAST = 1, 2


def associate_rq(
    contexts: Iterable[tuple[str, Sequence[str]]] = ((CT, (EXPLICIT, IMPLICIT)),),
    items: Sequence[Any] = (),
    maximum_length: int = 16382,
) -> bytes:
    """Return an A-ASSOCIATE-RQ; `items` are pynetdicom's user information primitives."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "MODALITY", "DICOM-INGEST"
    proposed = []
    for index, (abstract_syntax, transfer_syntaxes) in enumerate(contexts):
        context = build_context(abstract_syntax, list(transfer_syntaxes))
        context.context_id = 2 * index + 1
        proposed.append(context)
    primitive.presentation_context_definition_list = proposed
    primitive.user_information = [*user_information(maximum_length), *items]
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


def user_information(maximum_length: int) -> list[Any]:
    """Return the user information that every A-ASSOCIATE PDU has."""
    length, uid, name = (
        MaximumLengthNotification(),
        ImplementationClassUIDNotification(),
        ImplementationVersionNameNotification(),
    )
    length.maximum_length_received = maximum_length
    uid.implementation_class_uid = "1.2.3.4"
    name.implementation_version_name = "SCANNER_7"
    return [length, uid, name]


def command(command_field: int, message_id: int = 1, **elements: Any) -> bytes:
    """Return a command set; without a data set unless CommandDataSetType is given."""
    ds = Dataset()
    ds.CommandField = command_field
    ds.MessageID = message_id
    ds.CommandDataSetType = 0x0101
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.CommandGroupLength = 0
    ds.CommandGroupLength = len(encode(ds, True, True) or b"") - 12
    return bytes(encode(ds, True, True) or b"")


def store_command(message_id: int = 1) -> bytes:
    """Return a C-STORE-RQ that announces a data set."""
    return command(
        0x0001,
        message_id,
        AffectedSOPClassUID=CT,
        AffectedSOPInstanceUID=INSTANCE,
        Priority=0,
        CommandDataSetType=1,
    )


def cancel_command(message_id: int) -> bytes:
    """Return a C-CANCEL-RQ."""
    return command(0x0FFF, MessageID=None, MessageIDBeingRespondedTo=message_id)


def p_data(*values: tuple[int, int, bytes]) -> bytes:
    """Return one P-DATA-TF with these (context id, control header, content)."""
    pdu = P_DATA_TF()
    for context_id, control, content in values:
        item = PresentationDataValueItem()
        item.presentation_context_id = context_id
        item.presentation_data_value = bytes([control]) + content
        pdu.presentation_data_value_items.append(item)
    return bytes(pdu.encode())


def message(
    command_set: bytes, data_set: bytes | None = None, *, context_id: int = 1, longest: int = 16000
) -> bytes:
    """Return a command and its data set, one value a PDU, each of at most `longest` bytes."""
    pdus = _values(context_id, COMMAND, command_set, longest)
    if data_set is not None:
        pdus += _values(context_id, 0, data_set, longest)
    return b"".join(pdus)


def _values(context_id: int, control: int, content: bytes, longest: int) -> list[bytes]:
    return [
        p_data(
            (
                context_id,
                control | (LAST if start + longest >= len(content) else 0),
                content[start : start + longest],
            )
        )
        for start in range(0, len(content) or 1, longest)
    ]


def store(data_set: bytes, message_id: int = 1, *, longest: int = 16000) -> bytes:
    """Return a C-STORE-RQ and its data set."""
    return message(store_command(message_id), data_set, longest=longest)


def release_rq() -> bytes:
    """Return an A-RELEASE-RQ."""
    return bytes(A_RELEASE_RQ(A_RELEASE()).encode())


def release_rp() -> bytes:
    """Return an A-RELEASE-RP."""
    primitive = A_RELEASE()
    primitive.result = "affirmative"
    return bytes(A_RELEASE_RP(primitive).encode())


def abort() -> bytes:
    """Return an A-ABORT of the requestor's user."""
    primitive = A_ABORT()
    primitive.abort_source = 0
    return bytes(A_ABORT_RQ(primitive).encode())
