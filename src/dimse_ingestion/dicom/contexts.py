"""Which presentation contexts are accepted (PS3.8 section 9.3.3, PS3.4 B.3.1 and C.5).

Everything that is not asked as a known service is taken for storage, so that no private class is
lost. This decides on names only; the negotiation itself is the upper layer's.
"""

from collections.abc import Callable

from dimse_ingestion.dicom.uids import FIND_CLASSES, IDENTIFIER_SYNTAXES, VERIFICATION

Choose = Callable[[str, tuple[str, ...]], str | None]
"""Abstract syntax, proposed transfer syntaxes → the accepted one; None refuses the abstract
syntax, an empty string all its transfer syntaxes."""

_DIMSE_SERVICES = (
    "1.2.840.10008.1.",  # media storage directory, storage commitment, logs ...
    "1.2.840.10008.5.1.1.",  # print management
    "1.2.840.10008.5.1.4.1.2.",  # query/retrieve
    "1.2.840.10008.5.1.4.31",  # modality worklist
    "1.2.840.10008.5.1.4.32",  # general purpose worklist
    "1.2.840.10008.5.1.4.33",  # instance availability
    "1.2.840.10008.5.1.4.34.6",  # unified procedure step
    "1.2.840.10008.3.1.2.3.",  # performed procedure step
)


def is_storage(abstract_syntax: str) -> bool:
    """Whether an abstract syntax is taken for a storage class: all but the known services."""
    return not abstract_syntax.startswith(_DIMSE_SERVICES)


def choice(sop_classes: tuple[str, ...] = (), transfer_syntaxes: tuple[str, ...] = ()) -> Choose:
    """The policy of an AE; a list that isn't empty narrows what is stored.

    The requestor's first acceptable transfer syntax wins: it knows best what it has.
    """

    def choose(abstract_syntax: str, proposed: tuple[str, ...]) -> str | None:
        if abstract_syntax == VERIFICATION or abstract_syntax in FIND_CLASSES:
            return _first(proposed, IDENTIFIER_SYNTAXES)
        if not is_storage(abstract_syntax) or (sop_classes and abstract_syntax not in sop_classes):
            return None
        return _first(proposed, frozenset(transfer_syntaxes or proposed))

    return choose


def _first(proposed: tuple[str, ...], accepted: frozenset[str]) -> str:
    return next((syntax for syntax in proposed if syntax in accepted), "")
