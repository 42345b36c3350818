"""What the negotiation of an association has to do with C-MOVE and C-GET (PS3.4 C.5, PS3.7 D.3.3).

The sub-operations of a C-GET come back on the same association, so its requestor proposes to be
SCP of storage classes. `acceptance` decides on associations; rights are in the settings.
"""

from collections.abc import Mapping

from dimse_ingestion.dicom.contexts import ContextPolicy, is_storage
from dimse_ingestion.dicom.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    GET_CLASSES,
    IMPLICIT_VR_LITTLE_ENDIAN,
    MOVE_CLASSES,
)
from dimse_ingestion.settings import ProxySettings
from dimse_ingestion.upper_layer.services import Acceptance, AssociationRequest

RETRIEVE_CLASSES = GET_CLASSES | MOVE_CLASSES
_PREFERRED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
"""Transfer syntaxes into which instances are converted, so that nearly all can be sent in them."""


def served_classes(settings: ProxySettings) -> frozenset[str]:
    """Return the classes of C-MOVE and C-GET whose presentation contexts are accepted."""
    return RETRIEVE_CLASSES if settings.retrieve_enabled else frozenset()


def is_retrievable_by(settings: ProxySettings, calling_ae_title: str) -> bool:
    """Return whether a retrieve of this AE would be served (PS3.3 C.4.23.1).

    A C-MOVE is not, as long as no peer has an address to which instances could be sent.
    """
    if not settings.retrieve_enabled:
        return False
    may_move = settings.may(calling_ae_title, "move") and has_move_destination(settings)
    return may_move or settings.may(calling_ae_title, "get")


def has_move_destination(settings: ProxySettings) -> bool:
    """Return whether any peer has an address, so that a C-MOVE can have a destination."""
    return any(peer.address is not None for peer in settings.peers)


def acceptance(
    settings: ProxySettings,
    request: AssociationRequest,
    choose: ContextPolicy,
    extended: Mapping[str, bytes],
) -> Acceptance:
    """Return the acceptance of an association, with the SCP role for callers that may C-GET.

    Nothing is converted to explicit VR big endian: a context has it only where no other transfer
    syntax is proposed.
    """
    if not (settings.retrieve_enabled and settings.may(request.calling_ae_title, "get")):
        return Acceptance(choose, extended)
    assumes = settings.retrieve_assume_get_roles and _proposes_get(request)

    def choose_convertible(abstract_syntax: str, proposed: tuple[str, ...]) -> str | None:
        is_scp = request.proposed_scp.get(abstract_syntax, assumes)
        if is_scp and is_storage(abstract_syntax):
            for syntax in _PREFERRED:
                if syntax in proposed and (chosen := choose(abstract_syntax, (syntax,))):
                    return chosen
            others = tuple(each for each in proposed if each != EXPLICIT_VR_BIG_ENDIAN)
            if chosen := choose(abstract_syntax, others):
                return chosen
        return choose(abstract_syntax, proposed)

    return Acceptance(choose_convertible, extended, is_storage, assumes)


def _proposes_get(request: AssociationRequest) -> bool:
    return any(abstract_syntax in GET_CLASSES for abstract_syntax, _ in request.proposed.values())
