"""The Native DICOM Model (PS3.19 annex A.1): conversion of elements to XML and back.

It corresponds to `dicom_json`; the root element of a document is a data set.
"""

import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element as Node
from xml.etree.ElementTree import SubElement, tostring

from dimse_ingestion.dicom import charsets
from dimse_ingestion.dicom.data_dictionary import attribute
from dimse_ingestion.dicom.dicom_json import GROUPS, BulkDataUri, BulkElement, Path, from_json
from dimse_ingestion.dicom.elements import Element, is_large
from dimse_ingestion.dicom.native_model_reader import COMPONENTS, InvalidXml, NativeModelReader
from dimse_ingestion.dicom.value_representations import SINGLE_VALUED

__all__ = ["NAMESPACE", "InvalidXml", "from_xml", "to_xml", "xml_pieces"]
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_BEGIN = (
    b"<?xml version='1.0' encoding='utf-8'?>\n"
    b'<NativeDicomModel xmlns="%s" xml:space="preserve">' % NAMESPACE.encode()
)
_END = b"</NativeDicomModel>"
_ITEMS_AT_ONCE = 50  # of which the nodes are in memory
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_RETURN = "\ufdd0"  # no character: stands for the carriage return, which is lost unless escaped
_RETURN_IN_UTF_8 = _RETURN.encode()
_SPECIFIC_CHARACTER_SET = "00080005"


def to_xml(elements: Iterable[Element], address: BulkDataUri) -> bytes:
    """Convert a data set to XML in UTF-8; `address` returns the URI of bulk data by path."""
    return b"".join(xml_pieces(elements, address))


def xml_pieces(elements: Iterable[Element], address: BulkDataUri) -> Iterator[bytes]:
    """Yield the XML of a data set piece by piece; only one piece is in memory at a time."""
    yield _BEGIN
    for piece in _attributes_in_xml(elements, address, ()):
        yield piece.replace(_RETURN_IN_UTF_8, b"&#13;")
    yield _END


def _attributes_in_xml(
    elements: Iterable[Element], address: BulkDataUri, above: Path
) -> Iterator[bytes]:
    creators: dict[str, str] = {}
    for each in sorted(elements, key=lambda each: each.tag):
        yield from _attribute_in_xml(each, address, above, creators)


def _attribute_in_xml(
    each: Element, address: BulkDataUri, above: Path, creators: dict[str, str]
) -> Iterator[bytes]:
    """Yield the XML of one attribute, one piece for some items of a sequence.

    So only the nodes of these are in memory at a time, and of a large item those of a part.
    """
    holder = Node("NativeDicomModel")
    if not each.items:
        _add(holder, [each], address, above, creators)
        yield tostring(holder[0], encoding="utf-8")
        return
    _add(holder, [Element(each.group, each.element, "SQ")], address, above, creators)
    yield tostring(holder[0], encoding="utf-8").removesuffix(b" />") + b">"
    path = (*above, each.group + each.element)
    items = Node("Items")
    for number, item in enumerate(each.items, start=1):
        if is_large(item):
            yield _take(items)
            yield b'<Item number="%d">' % number
            yield from _attributes_in_xml(item, address, (*path, str(number)))
            yield b"</Item>"
        else:
            _item_node(items, number, item, address, path)
            if len(items) == _ITEMS_AT_ONCE:
                yield _take(items)
    yield _take(items)
    yield b"</DicomAttribute>"


def _take(items: Node) -> bytes:
    """Return the XML of the items, and remove them from their parent."""
    if not len(items):
        return b""
    written: bytes = tostring(items, encoding="utf-8")
    items.clear()
    return written.removeprefix(b"<Items>").removesuffix(b"</Items>")


def _item_node(
    parent: Node, number: int, item: Iterable[Element], address: BulkDataUri, path: Path
) -> Node:
    inner = SubElement(parent, "Item", {"number": str(number)})
    _add(inner, item, address, (*path, str(number)), {})
    return inner


def _add(
    parent: Node,
    elements: Iterable[Element],
    address: BulkDataUri,
    above: Path,
    creators: dict[str, str],
) -> None:
    for each in sorted(elements, key=lambda each: each.tag):
        if creator := _reserved_block(each):
            creators[creator] = each.value.strip()
        _add_attribute(parent, each, address, (*above, each.group + each.element), creators)


def _reserved_block(each: Element) -> str:
    """Return the block of private elements that this one reserves (PS3.5 7.8.1), or ''."""
    reserves = int(each.group, 16) & 1 and each.element[:2] == "00" and each.element >= "0010"
    return each.group + each.element[2:] if reserves else ""


def _add_attribute(
    parent: Node, each: Element, address: BulkDataUri, path: Path, creators: dict[str, str]
) -> None:
    vr = "UN" if each.vr == "SQ" and each.bulk is not None else each.vr
    attributes = {"tag": path[-1], "vr": vr}
    if (standard := attribute(each.tag)) is not None and standard.keyword:
        attributes["keyword"] = standard.keyword
    if int(each.group, 16) & 1 and (creator := creators.get(each.group + each.element[:2])):
        attributes["privateCreator"] = _strip_invalid(creator)
    _fill(SubElement(parent, "DicomAttribute", attributes), each, address, path)


def _fill(node: Node, each: Element, address: BulkDataUri, path: Path) -> None:
    if each.bulk is not None:
        SubElement(node, "BulkData", {"uri": address(path)})
    elif each.inline_binary is not None:
        SubElement(node, "InlineBinary").text = each.inline_binary
    elif each.items is not None:
        for number, item in enumerate(each.items, start=1):
            _item_node(node, number, item, address, path)
    else:
        _fill_values(node, each, path)


def _fill_values(node: Node, each: Element, path: Path) -> None:
    value = charsets.UTF_8 if path[-1] == _SPECIFIC_CHARACTER_SET and each.value else each.value
    values = [value] if each.vr in SINGLE_VALUED else value.split("\\")
    texts = [_strip_invalid(text.rstrip(" \0")) for text in values]
    if not any(texts):
        return
    for number, text in enumerate(texts, start=1):
        if each.vr == "PN":
            _fill_name(SubElement(node, "PersonName", {"number": str(number)}), text)
        else:
            SubElement(node, "Value", {"number": str(number)}).text = text


def _fill_name(node: Node, name: str) -> None:
    for group, text in zip(GROUPS, name.split("="), strict=False):
        components = [part for part in zip(COMPONENTS, text.split("^"), strict=False) if part[1]]
        if components:
            inner = SubElement(node, group)
            for component, part in components:
                SubElement(inner, component).text = part


def _strip_invalid(text: str) -> str:
    """Remove the characters that XML 1.0 can't represent."""
    return _NOT_IN_XML.sub("", text).replace("\r", _RETURN)


def from_xml(document: bytes, bulk: BulkElement) -> list[Element]:
    """Return the elements of an XML document, in order of their tags.

    `bulk` returns the element of a URI. Raises ValueError with a sentence that names the tag and
    repeats no value, and InvalidXml for a document that is not XML.
    """
    return from_json(NativeModelReader().read(document), bulk)
