"""The policy for presentation contexts (PS3.8 section 9.3.3, PS3.4 B.3.1 and C.5).

An abstract syntax that is no known service is taken as a storage class, so that private classes
are stored as well. The negotiation itself is in the upper layer.
"""

from collections.abc import Callable

from dimse_ingestion.dicom.data_dictionary import registered_uid
from dimse_ingestion.dicom.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    FIND_CLASSES,
    IDENTIFIER_SYNTAXES,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_COMMITMENT,
    VERIFICATION,
)

ContextPolicy = Callable[[str, tuple[str, ...]], str | None]
"""Abstract syntax, proposed transfer syntaxes → the accepted one; None refuses the abstract
syntax, an empty string all its transfer syntaxes."""

NON_PATIENT = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.200.1",  # CT Defined Procedure Protocol Storage
        "1.2.840.10008.5.1.4.1.1.200.3",  # Protocol Approval Storage
        "1.2.840.10008.5.1.4.1.1.200.7",  # XA Defined Procedure Protocol Storage
        "1.2.840.10008.5.1.4.1.1.201.1",  # Inventory Storage
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol Storage
        "1.2.840.10008.5.1.4.39.1",  # Color Palette Storage
        "1.2.840.10008.5.1.4.43.1",  # Generic Implant Template Storage
        "1.2.840.10008.5.1.4.44.1",  # Implant Assembly Template Storage
        "1.2.840.10008.5.1.4.45.1",  # Implant Template Group Storage
    }
)
"""Classes of objects that belong to no patient and no study (PS3.4 annex GG): not stored here."""

_NO_STORAGE = NON_PATIENT | frozenset(
    {
        "1.2.840.10008.1.3.10",  # Media Storage Directory Storage: DICOMDIR, PS3.4 I
        STORAGE_COMMITMENT,
        "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
    }
)


COMMITMENT_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
"""Transfer syntaxes of storage commitment, in both directions."""


def is_storage(abstract_syntax: str) -> bool:
    """Return whether an abstract syntax is treated as a storage class.

    These are the storage classes of PS3.6, its retired ones without a name, and unknown ones,
    except `NON_PATIENT` classes: their objects belong to no study, so no query would find them.
    """
    if abstract_syntax in _NO_STORAGE:
        return False
    registered = registered_uid(abstract_syntax)
    if registered is None:
        return True
    return registered.type == "SOP Class" and ("Storage" in registered.name or not registered.name)


def context_policy(
    sop_classes: tuple[str, ...] = (),
    transfer_syntaxes: tuple[str, ...] = (),
    retrieve_classes: frozenset[str] = frozenset(),
    *,
    commitment: bool = False,
) -> ContextPolicy:
    """Return the policy of an AE; non-empty lists restrict what is stored.

    `retrieve_classes` are the classes of C-MOVE and C-GET that are served; `commitment` accepts
    the Storage Commitment Push Model.

    The requestor's first acceptable transfer syntax is chosen, because it reflects how the
    requestor has its objects.
    """
    served = FIND_CLASSES | retrieve_classes | {VERIFICATION}

    def choose(abstract_syntax: str, proposed: tuple[str, ...]) -> str | None:
        if abstract_syntax in served:
            return _first(proposed, IDENTIFIER_SYNTAXES)
        if abstract_syntax == STORAGE_COMMITMENT and commitment:
            return _first(proposed, frozenset(COMMITMENT_SYNTAXES))
        if not is_storage(abstract_syntax) or (sop_classes and abstract_syntax not in sop_classes):
            return None
        return _first(proposed, frozenset(transfer_syntaxes or proposed))

    return choose


def _first(proposed: tuple[str, ...], accepted: frozenset[str]) -> str:
    return next((syntax for syntax in proposed if syntax in accepted), "")
