"""What became of each instance of a request, as PS3.18 annex I (Store Instances Response) tells it.

Pure: outcomes in, elements and an HTTP status out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicomweb.store.part10_upload import InstanceIdentity

_RETRIEVE_URL = 0x00081190
_WARNING_REASON = 0x00081196
_FAILURE_REASON = 0x00081197
_FAILED_SOP_SEQUENCE = 0x00081198
_REFERENCED_SOP_SEQUENCE = 0x00081199
_OTHER_FAILURES_SEQUENCE = 0x0008119A
_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155

RetrieveUrl = Callable[[str, str, str], str]
"""Where a study, a series of it, an instance of that can be had; empty for no such level."""


@dataclass(frozen=True, slots=True)
class StoreWarning:
    """What there is to say of an instance that is stored; `reason` is 0 for none of I.2-1."""

    sentence: str
    reason: int = 0


ELEMENTS_OMITTED = StoreWarning(
    "Elements that are true of another encoding only, or of none, are left out.", 0xB006
)
UID_CONFLICT = StoreWarning(
    "A SOP Instance UID was known with other content: all are kept, and one answers "
    "(DIMSE_DUPLICATES)."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One instance of a request; `failure` is None for one that is durable and known."""

    named: InstanceIdentity
    failure: DimseFailure | None = None
    warnings: tuple[StoreWarning, ...] = ()


def http_status(outcomes: Sequence[Outcome]) -> int:
    """200 when all are stored, 202 when some are, 409 when none is (PS3.18 table 10.5.3-1).

    503 when none is for something that passes: the same request may be sent again.
    """
    failures = [each.failure for each in outcomes if each.failure is not None]
    if not failures:
        return HTTPStatus.OK
    if len(failures) < len(outcomes):
        return HTTPStatus.ACCEPTED
    return (
        HTTPStatus.SERVICE_UNAVAILABLE
        if all(each.transient for each in failures)
        else HTTPStatus.CONFLICT
    )


def response_elements(outcomes: Sequence[Outcome], url: RetrieveUrl) -> list[Element]:
    """The response's data set (PS3.18 table I.2-1)."""
    sequences = (
        (_FAILED_SOP_SEQUENCE, [_failed(each) for each in outcomes if _is_named_failure(each)]),
        (_REFERENCED_SOP_SEQUENCE, [_stored(each, url) for each in outcomes if not each.failure]),
        (_OTHER_FAILURES_SEQUENCE, [_other(each) for each in outcomes if _is_other_failure(each)]),
    )
    told = [_sequence(tag, items) for tag, items in sequences if items]
    studies = {each.named.study_instance_uid for each in outcomes if not each.failure}
    if len(studies) != 1:
        return told
    return [element(_RETRIEVE_URL, "UR", url(studies.pop(), "", "")), *told]


def sentences(outcomes: Iterable[Outcome], most: int = 5) -> list[str]:
    """Why instances failed and what is odd with others, each once, for a person."""
    told = [each.failure.public_comment for each in outcomes if each.failure is not None]
    warned = [warning.sentence for each in outcomes for warning in each.warnings]
    return list(dict.fromkeys(told))[:most] + list(dict.fromkeys(warned))


def _is_named_failure(each: Outcome) -> bool:
    return each.failure is not None and bool(each.named.sop_instance_uid)


def _is_other_failure(each: Outcome) -> bool:
    return each.failure is not None and not each.named.sop_instance_uid


def _stored(each: Outcome, url: RetrieveUrl) -> list[Element]:
    named = each.named
    where = url(named.study_instance_uid, named.series_instance_uid, named.sop_instance_uid)
    reasons = [warning.reason for warning in each.warnings if warning.reason]
    warned = [element(_WARNING_REASON, "US", str(reason)) for reason in reasons[:1]]
    return [*_referenced(named), element(_RETRIEVE_URL, "UR", where), *warned]


def _failed(each: Outcome) -> list[Element]:
    return [*_referenced(each.named), *_other(each)]


def _other(each: Outcome) -> list[Element]:
    reason = int(each.failure.status) if each.failure else 0
    return [element(_FAILURE_REASON, "US", str(reason))]


def _referenced(named: InstanceIdentity) -> list[Element]:
    return [
        element(_REFERENCED_SOP_CLASS_UID, "UI", named.sop_class_uid),
        element(_REFERENCED_SOP_INSTANCE_UID, "UI", named.sop_instance_uid),
    ]


def _sequence(tag: int, items: list[list[Element]]) -> Element:
    empty = element(tag, "SQ")
    return Element(empty.group, empty.element, "SQ", items=items)
