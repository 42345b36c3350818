"""UIDs (PS3.5 section 9.1): their validation, and the well-known ones that other modules use.

Storage classes are not listed: unknown and private ones are stored like any other.
"""

import re

_MAXIMUM_LENGTH = 64
_COMPONENTS = re.compile(r"[0-9]+(\.[0-9]+)*")

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
"""The Storage Commitment Push Model (PS3.4 annex J)."""
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Its well-known instance."""
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
FIND_CLASSES = frozenset({PATIENT_ROOT_FIND, STUDY_ROOT_FIND})
PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
MOVE_CLASSES = frozenset({PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE})
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
GET_CLASSES = frozenset({PATIENT_ROOT_GET, STUDY_ROOT_GET})

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
"""Explicit VR little endian, each frame's samples in a fragment (PS3.5 A.4.11)."""
DEFLATED = frozenset(
    {
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)
"""Transfer syntaxes whose whole data set is deflated (PS3.5 A.5)."""

IDENTIFIER_SYNTAXES = frozenset(
    {
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_LITTLE_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
    }
)
"""Transfer syntaxes in which an identifier can be written: those without encapsulation."""
UNCOMPRESSED = IDENTIFIER_SYNTAXES | {ENCAPSULATED_UNCOMPRESSED}
"""Transfer syntaxes in which pixels are their samples, in fragments or not."""


def strip_padding(value: str) -> str:
    """Return the value of a UI element without the NULs and spaces that pad it at its end.

    PS3.5 9.1 pads with one NUL; spaces and several NULs are sent as well and are harmless. Blanks
    before a UID and other control characters stay, so that `is_valid` refuses them: every service
    reads UIDs by this rule, before anything is stored.
    """
    return value.rstrip("\0 ")


def is_valid(uid: str) -> bool:
    """Return whether `uid` has only numbers and dots and at most 64 characters.

    Leading zeros of a component are accepted, because real devices send them.
    """
    return len(uid) <= _MAXIMUM_LENGTH and _COMPONENTS.fullmatch(uid) is not None
