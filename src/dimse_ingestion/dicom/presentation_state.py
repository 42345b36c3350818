"""The elements that determine how a frame is displayed (PS3.3 C.7.6.3, C.11).

They are collected for one frame, from the functional groups of multi-frame images as well (PS3.3
C.7.6.16), so that the renderer gets a single-frame image. They are applied elsewhere.
"""

from collections.abc import Iterable, Iterator

from dimse_ingestion.dicom.elements import Element, by_tag

_IMAGE_PIXEL_GROUP = "0028"
_MODALITY, _PRESENTATION_LUT_SHAPE = 0x00080060, 0x20500020
_SHARED_GROUPS, _PER_FRAME_GROUPS = 0x52009229, 0x52009230
_FRAME_VOI_LUT, _PIXEL_VALUE_TRANSFORMATION = 0x00289132, 0x00289145
_NUMBER_OF_FRAMES = 0x00280008
_LONGEST_TABLE = 2**20
_WRITABLE = frozenset({"CS", "DS", "IS", "US", "SS", "UL", "SL", "FL", "FD", "OW", "OB", "SQ"})
"""VRs of display elements; free text is not needed."""


def presentation_elements(elements: Iterable[Element], number: int) -> list[Element]:
    """Return the display elements of frame `number`, counted from 1, with references."""
    found = by_tag(elements)
    plain = {
        tag: each
        for tag, each in found.items()
        if each.group == _IMAGE_PIXEL_GROUP or tag in (_MODALITY, _PRESENTATION_LUT_SHAPE)
    }
    for each in _of_frame(found, number):
        if each.value or each.items or each.inline_binary or each.bulk:
            plain[each.tag] = each
    plain.pop(_NUMBER_OF_FRAMES, None)
    return [each for each in _writable(plain.values()) if each.bulk is None or _is_table(each)]


def _of_frame(found: dict[int, Element], number: int) -> Iterator[Element]:
    """Yield a frame's elements in the functional groups: shared ones, then its own."""
    shared = _items(found.get(_SHARED_GROUPS))
    own = _items(found.get(_PER_FRAME_GROUPS))
    for group in [*shared[:1], *own[number - 1 : number]]:
        for macro in (_FRAME_VOI_LUT, _PIXEL_VALUE_TRANSFORMATION):
            for item in _items(by_tag(group).get(macro))[:1]:
                yield from item


def _is_table(each: Element) -> bool:
    return each.bulk is not None and each.bulk.length <= _LONGEST_TABLE


def _items(sequence: Element | None) -> list[list[Element]]:
    return list(sequence.items or ()) if sequence else []


def _writable(elements: Iterable[Element]) -> Iterator[Element]:
    for each in elements:
        if each.vr not in _WRITABLE:
            continue
        if each.items is None:
            yield each
        else:
            items = [list(_writable(item)) for item in each.items]
            yield Element(each.group, each.element, each.vr, items=items)
