"""The modalities that a proxy's metrics name, and how often each of them sends.

In a file a list of `{aeTitle, expectedEvery}`; in the environment `CT1=8h, MR1=1d, XA1`. It admits
nobody: who may associate is in `callingAeTitles`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from dimse_ingestion.dicom.ae_title import validate

_DURATION = re.compile(r"(?P<number>[0-9]{1,9})\s*(?P<unit>[smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400
_KEYS = {"aeTitle", "expectedEvery"}
_MOST = 200  # each is a series of metrics


@dataclass(frozen=True, slots=True)
class Modality:
    """A modality by its AE title; `expected_every` in seconds, None without an expectation."""

    ae_title: str
    expected_every: float | None = None


def parse_duration(value: object) -> float:
    """Return seconds from a number, or from one with a unit (`90s`, `30m`, `8h`, `7d`).

    Raises ValueError.
    """
    match = _DURATION.fullmatch(str(value).strip())
    seconds = int(match["number"]) * _UNITS[match["unit"]] if match else 0
    if isinstance(value, bool) or not 0 < seconds <= _LONGEST:
        raise ValueError(f"{value!r} is no duration: give a number with s, m, h or d, like 8h.")
    return float(seconds)


def _modalities(value: object) -> tuple[Modality, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"{value!r} is no list: give [{{aeTitle: CT1, expectedEvery: 8h}}].")  # noqa: TRY004 - pydantic takes no other
    modalities = tuple(_modality(each) for each in parts if each != "")
    titles = [each.ae_title for each in modalities]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ValueError(f"{twice[0]} is given twice: keep one of them.")
    if len(modalities) > _MOST:
        raise ValueError(f"it has more than {_MOST} modalities: give those that matter.")
    return modalities


def _modality(value: object) -> Modality:
    match value:
        case Modality():
            return value
        case str():
            title, separator, every = value.partition("=")
            return Modality(validate(title), parse_duration(every) if separator else None)
        case Mapping() if "aeTitle" in value and value.keys() <= _KEYS:
            expected = value.get("expectedEvery")
            seconds = None if expected is None else parse_duration(expected)
            return Modality(validate(str(value["aeTitle"])), seconds)
    raise ValueError(f"{value!r} is no modality: give {{aeTitle: CT1, expectedEvery: 8h}}.")


Modalities = Annotated[tuple[Modality, ...], NoDecode, BeforeValidator(_modalities)]
