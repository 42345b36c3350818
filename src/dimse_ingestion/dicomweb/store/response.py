"""The Store Instances Response of STOW-RS (PS3.18 annex I): a data set and an HTTP status.

Built from the outcomes of the instances alone; no I/O.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.response_status import store_status
from dimse_ingestion.dicomweb.store.part10_upload import InstanceIdentity
from dimse_ingestion.failures import Failure

_RETRIEVE_URL = 0x00081190
_WARNING_REASON = 0x00081196
_FAILURE_REASON = 0x00081197
_FAILED_SOP_SEQUENCE = 0x00081198
_REFERENCED_SOP_SEQUENCE = 0x00081199
_OTHER_FAILURES_SEQUENCE = 0x0008119A
_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155

RetrieveUrl = Callable[[str, str, str], str]
"""Gives the URL of a study, a series or an instance; UIDs of levels below it are empty."""


@dataclass(frozen=True, slots=True)
class StoreWarning:
    """A warning about an instance that is stored; `reason` is 0 for none of PS3.18 table I.2-1."""

    sentence: str
    reason: int = 0


ELEMENTS_OMITTED = StoreWarning(
    "Elements that are valid in another encoding only, or in none, are left out.", 0xB006
)
UID_CONFLICT = StoreWarning(
    "A SOP Instance UID was known with other content: all contents are stored, and one is given "
    "(DIMSE_DUPLICATES)."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one instance; `failure` is None when it is durable and in the catalogue."""

    identity: InstanceIdentity
    failure: Failure | None = None
    warnings: tuple[StoreWarning, ...] = ()
    is_new: bool = False
    """True if its object was not in the bucket before."""


def http_status(outcomes: Sequence[Outcome]) -> int:
    """Return 200 if all are stored, 202 if some, 409 if none (PS3.18 table 10.5.3-1).

    Return 503 if none is stored and all failures are transient: the client may send it again.
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
    """Return the data set of the response (PS3.18 table I.2-1)."""
    sequences = (
        (_FAILED_SOP_SEQUENCE, [_failed(each) for each in outcomes if _is_sop_failure(each)]),
        (_REFERENCED_SOP_SEQUENCE, [_stored(each, url) for each in outcomes if not each.failure]),
        (_OTHER_FAILURES_SEQUENCE, [_other(each) for each in outcomes if _is_other_failure(each)]),
    )
    elements = [_sequence(tag, items) for tag, items in sequences if items]
    studies = {each.identity.study_instance_uid for each in outcomes if not each.failure}
    if len(studies) != 1:
        return elements
    return [element(_RETRIEVE_URL, "UR", url(studies.pop(), "", "")), *elements]


def sentences(outcomes: Iterable[Outcome], most: int = 5) -> list[str]:
    """Return the failures, at most `most`, and the warnings as sentences, each one once."""
    by_comment = {each.failure.comment: each.failure for each in outcomes if each.failure}
    failures = [each.public_comment for each in by_comment.values()]
    warnings = [warning.sentence for each in outcomes for warning in each.warnings]
    return list(dict.fromkeys(failures))[:most] + list(dict.fromkeys(warnings))


def _is_sop_failure(each: Outcome) -> bool:
    return each.failure is not None and bool(each.identity.sop_instance_uid)


def _is_other_failure(each: Outcome) -> bool:
    return each.failure is not None and not each.identity.sop_instance_uid


def _stored(each: Outcome, url: RetrieveUrl) -> list[Element]:
    identity = each.identity
    where = url(
        identity.study_instance_uid, identity.series_instance_uid, identity.sop_instance_uid
    )
    reasons = [warning.reason for warning in each.warnings if warning.reason]
    warned = [element(_WARNING_REASON, "US", str(reason)) for reason in reasons[:1]]
    return [*_referenced(identity), element(_RETRIEVE_URL, "UR", where), *warned]


def _failed(each: Outcome) -> list[Element]:
    return [*_referenced(each.identity), *_other(each)]


def _other(each: Outcome) -> list[Element]:
    reason = int(store_status(each.failure)) if each.failure else 0
    return [element(_FAILURE_REASON, "US", str(reason))]


def _referenced(identity: InstanceIdentity) -> list[Element]:
    return [
        element(_REFERENCED_SOP_CLASS_UID, "UI", identity.sop_class_uid),
        element(_REFERENCED_SOP_INSTANCE_UID, "UI", identity.sop_instance_uid),
    ]


def _sequence(tag: int, items: list[list[Element]]) -> Element:
    empty = element(tag, "SQ")
    return Element(empty.group, empty.element, "SQ", items=items)
