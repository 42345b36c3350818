"""DIMSE statuses by name (PS3.7 annex C, and the service classes in PS3.4).

Other modules use these names instead of numbers. The error type is in `failure`.
"""

from contextlib import suppress
from enum import IntEnum


class Status(IntEnum):
    """Value of Status (0000,0900) in a response."""

    SUCCESS = 0x0000  # PS3.7 C.1.1
    PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.21
    DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.7
    MISSING_ATTRIBUTE = 0x0120  # PS3.7 C.5.15
    NO_SUCH_SOP_INSTANCE = 0x0112  # PS3.7 C.5
    INVALID_ARGUMENT_VALUE = 0x0115  # PS3.7 C.5.10
    INVALID_SOP_INSTANCE = 0x0117  # PS3.7 C.5.14
    NO_SUCH_SOP_CLASS = 0x0118  # PS3.7 C.5
    CLASS_INSTANCE_CONFLICT = 0x0119  # PS3.7 C.5
    SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.24
    NO_SUCH_ACTION_TYPE = 0x0123  # PS3.7 C.5.24
    NOT_AUTHORIZED = 0x0124  # PS3.7 C.5.25
    DUPLICATE_TRANSACTION_UID = 0x0131  # PS3.3 C.14.1.1, a Failure Reason
    DUPLICATE_INVOCATION = 0x0210  # PS3.7 C.5.6
    UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5.23
    MISTYPED_ARGUMENT = 0x0212  # PS3.7 C.5.18
    RESOURCE_LIMITATION = 0x0213  # PS3.7 C.5
    OUT_OF_RESOURCES = 0xA700  # PS3.4 table B.2-1, table C.4-1
    UNABLE_TO_COUNT_MATCHES = 0xA701  # PS3.4 tables C.4-2 and C.4-3
    UNABLE_TO_PERFORM_SUB_OPERATIONS = 0xA702  # PS3.4 tables C.4-2 and C.4-3
    MOVE_DESTINATION_UNKNOWN = 0xA801  # PS3.4 table C.4-2
    DOES_NOT_MATCH_SOP_CLASS = 0xA900  # PS3.4 table B.2-1 (data set), table C.4-1 (identifier)
    SUB_OPERATIONS_WITH_FAILURES = 0xB000  # PS3.4 tables C.4-2 and C.4-3
    CANNOT_UNDERSTAND = 0xC000  # PS3.4 table B.2-1, C000 to CFFF
    UNABLE_TO_PROCESS = 0xC001  # PS3.4 table C.4-1, C000 to CFFF
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122  # PS3.18 table I.2-2
    CANCEL = 0xFE00  # PS3.7 C.3
    PENDING = 0xFF00  # PS3.4 table C.4-1
    PENDING_WITHOUT_OPTIONAL_KEYS = 0xFF01  # PS3.4 table C.4-1

    @property
    def is_pending(self) -> bool:
        """Return whether more responses follow this one."""
        return self in (Status.PENDING, Status.PENDING_WITHOUT_OPTIONAL_KEYS)


def known_status(number: int) -> Status:
    """Return the status, or for an unknown one of a newer release the nearest known status."""
    with suppress(ValueError):
        return Status(number)
    if number & 0xF000 == Status.CANNOT_UNDERSTAND:
        return Status.CANNOT_UNDERSTAND
    coarse = (Status.OUT_OF_RESOURCES, Status.DOES_NOT_MATCH_SOP_CLASS)  # A7xx, A9xx
    return next((each for each in coarse if number & 0xFF00 == each), Status.PROCESSING_FAILURE)
