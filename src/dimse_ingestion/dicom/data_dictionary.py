"""The data dictionary and the registry of UIDs (PS3.6 chapters 6 to 8 and annex A).

The columns that are used here are tables beside this module, which `python -m harness.dicom_tables`
makes of pydicom's. Services don't import pydicom for them, because it brings NumPy and its pixel
code: 26 MiB of each service's memory, and much of the time in which it starts.
"""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Attribute(NamedTuple):
    """A standard attribute; `vr` may name several (`US or SS`), `keyword` may be empty."""

    vr: str
    keyword: str


class RegisteredUid(NamedTuple):
    """A UID of annex A; `type` is such as `SOP Class`, `name` is empty for some retired ones."""

    type: str
    name: str


class _Repeated(NamedTuple):
    """An attribute of a repeating group, in which some hexadecimal digits are free (PS3.6 6)."""

    tag: int
    fixed: int
    """The bits of the digits that are not free."""
    attribute: Attribute


def attribute(tag: int) -> Attribute | None:
    """Return the standard attribute of a tag, also one of a repeating group; None for others."""
    if (found := _attributes().get(tag)) is not None:
        return found
    if not tag >> 16 & 1:  # those of odd groups are private
        for repeated in _repeated():
            if not (tag ^ repeated.tag) & repeated.fixed:
                return repeated.attribute
    return None


def tag_of(keyword: str) -> int | None:
    """Return the tag of an attribute's keyword; None for an unknown one or a repeating group."""
    return _tags().get(keyword)


def registered_uid(uid: str) -> RegisteredUid | None:
    """Return what PS3.6 registers a UID as; None for a private or unknown one."""
    return _uids().get(uid)


@cache
def _attributes() -> dict[int, Attribute]:
    rows = _rows("attributes.tsv")
    return {int(tag, 16): Attribute(vr, keyword) for tag, vr, keyword in rows if "x" not in tag}


@cache
def _repeated() -> tuple[_Repeated, ...]:
    return tuple(
        _Repeated(
            int(tag.replace("x", "0"), 16),
            int("".join("0" if digit == "x" else "F" for digit in tag), 16),
            Attribute(vr, keyword),
        )
        for tag, vr, keyword in _rows("attributes.tsv")
        if "x" in tag
    )


@cache
def _tags() -> dict[str, int]:
    return {each.keyword: tag for tag, each in _attributes().items() if each.keyword}


@cache
def _uids() -> dict[str, RegisteredUid]:
    return {uid: RegisteredUid(kind, name) for uid, kind, name in _rows("uids.tsv")}


def _rows(table: str) -> Iterator[tuple[str, str, str]]:
    text = files(__package__).joinpath("tables", table).read_text(encoding="utf-8")
    for line in text.splitlines():
        first, second, third = line.split("\t")
        yield first, second, third
