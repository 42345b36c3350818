"""The presentation contexts that a C-MOVE proposes to its destination (PS3.8 9.3.2.2).

For each class: each transfer syntax in which instances are stored alone, so that the destination
can't choose another one where it takes that; and one context with the uncompressed ones, into
which the service may convert. An association has at most 128 contexts, so there may be several.
"""

from collections.abc import Sequence

from dimse_ingestion.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dimse_ingestion.transport.protocol.messages import RetrieveInstance
from dimse_ingestion.upper_layer.requestor_negotiation import MOST_CONTEXTS, ProposedContext

_NATIVE = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def proposals(instances: Sequence[RetrieveInstance]) -> list[dict[str, list[ProposedContext]]]:
    """Return the contexts by class of each association, in the order of the instances."""
    syntaxes: dict[str, dict[str, None]] = {}
    for each in instances:
        syntaxes.setdefault(each.sop_class_uid, {})[each.transfer_syntax_uid] = None
    associations: list[dict[str, list[ProposedContext]]] = []
    free = 0
    for sop_class_uid, stored in syntaxes.items():
        contexts = _contexts(sop_class_uid, tuple(stored))
        if len(contexts) > free:
            associations.append({})
            free = MOST_CONTEXTS
        associations[-1][sop_class_uid] = contexts
        free -= len(contexts)
    return associations


def _contexts(sop_class_uid: str, stored: tuple[str, ...]) -> list[ProposedContext]:
    alone = [ProposedContext(sop_class_uid, (syntax,)) for syntax in stored[: MOST_CONTEXTS - 1]]
    return [*alone, ProposedContext(sop_class_uid, _NATIVE)]
