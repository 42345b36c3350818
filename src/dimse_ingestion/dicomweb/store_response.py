"""What became of each instance of a request, as PS3.18 annex I (Store Instances Response) tells it.

Pure: outcomes in, elements and an HTTP status out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dimse_ingestion.dicom.elements import Element, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicomweb.receiving import Named

_RETRIEVE_URL = 0x00081190
_FAILURE_REASON = 0x00081197
_FAILED_SOP_SEQUENCE = 0x00081198
_REFERENCED_SOP_SEQUENCE = 0x00081199
_OTHER_FAILURES_SEQUENCE = 0x0008119A
_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155

_OK, _ACCEPTED, _CONFLICT, _UNAVAILABLE = 200, 202, 409, 503


@dataclass(frozen=True, slots=True)
class Outcome:
    """One instance of a request; `failure` is None for one that is durable and known.

    `retrieve_url` is where it can be had.
    """

    named: Named
    retrieve_url: str = ""
    failure: DimseFailure | None = None


def http_status(outcomes: Sequence[Outcome]) -> int:
    """200 when all are stored, 202 when some are, 409 when none is (PS3.18 table 10.5.3-1).

    503 when none is for something that passes: the same request may be sent again.
    """
    failures = [each.failure for each in outcomes if each.failure is not None]
    if not failures:
        return _OK
    if len(failures) < len(outcomes):
        return _ACCEPTED
    return _UNAVAILABLE if all(each.transient for each in failures) else _CONFLICT


def response_elements(outcomes: Iterable[Outcome], study_url: str = "") -> list[Element]:
    """The response's data set (PS3.18 table I.2-1); `study_url` when all are of one study."""
    stored: list[list[Element]] = []
    failed: list[list[Element]] = []
    others: list[list[Element]] = []
    for each in outcomes:
        if each.failure is None:
            stored.append(
                [*_referenced(each.named), element(_RETRIEVE_URL, "UR", each.retrieve_url)]
            )
        elif each.named.sop_instance_uid:
            failed.append([*_referenced(each.named), _reason(each.failure)])
        else:
            others.append([_reason(each.failure)])
    sequences = (
        (_FAILED_SOP_SEQUENCE, failed),
        (_REFERENCED_SOP_SEQUENCE, stored),
        (_OTHER_FAILURES_SEQUENCE, others),
    )
    told = [_sequence(tag, items) for tag, items in sequences if items]
    return [element(_RETRIEVE_URL, "UR", study_url), *told] if study_url else told


def sentences(outcomes: Iterable[Outcome], most: int = 5) -> list[str]:
    """Why instances failed, each reason once, for a person."""
    told = (each.failure.comment for each in outcomes if each.failure is not None)
    return list(dict.fromkeys(told))[:most]


def _referenced(named: Named) -> list[Element]:
    return [
        element(_REFERENCED_SOP_CLASS_UID, "UI", named.sop_class_uid),
        element(_REFERENCED_SOP_INSTANCE_UID, "UI", named.sop_instance_uid),
    ]


def _reason(failure: DimseFailure) -> Element:
    return element(_FAILURE_REASON, "US", str(int(failure.status)))


def _sequence(tag: int, items: list[list[Element]]) -> Element:
    empty = element(tag, "SQ")
    return Element(empty.group, empty.element, "SQ", items=items)
