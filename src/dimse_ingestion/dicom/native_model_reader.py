"""Reads the Native DICOM Model (PS3.19 annex A.1) into the objects of the DICOM JSON Model.

The document is never held as a tree: each element becomes its part of the data set when it ends,
and what a data set may have is counted before it is kept. Names are read without their namespace,
since resolving namespaces can multiply a document's size. A document type declaration, and with it
every entity, is refused.
"""

from dataclasses import dataclass, field
from xml.parsers import expat

from dimse_ingestion.dicom.metadata_limits import MetadataBudget

COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_ROOT = "NativeDicomModel"
_DEEPEST = 64  # sequences
_DEEPEST_ELEMENT = 2 * _DEEPEST + 8  # two elements a sequence, and what is within the innermost
_NO_XML = "The document is not XML without a DTD."
_VALUES = frozenset({"Value", "PersonName", "Item"})


class InvalidXml(ValueError):
    """A document that is no XML, or has a DTD."""


@dataclass(slots=True)
class _Node:
    """An element that has not ended: its attributes and what its inner elements gave."""

    name: str
    attributes: dict[str, str]
    text: list[str] = field(default_factory=list)
    members: dict[str, object] = field(default_factory=dict)
    values: dict[int, object] = field(default_factory=dict)


class NativeModelReader:
    """Reads one document."""

    def __init__(self) -> None:
        self._budget = MetadataBudget()
        self._has_started = False
        self._open: list[_Node] = []
        self._data_set: dict[str, object] = {}
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = _refuse_document_type

    def read(self, document: bytes) -> dict[str, object]:
        """Return the document's data set.

        Raises ValueError with a sentence that repeats no value, NoXml where there is no XML.
        """
        try:
            self._parser.Parse(document, True)
        except (expat.ExpatError, LookupError, UnicodeError):
            raise InvalidXml(_NO_XML) from None
        except ValueError:
            if self._has_started:
                raise
            raise InvalidXml(_NO_XML) from None  # of an encoding that is declared
        return self._data_set

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._has_started = True
        name = name.rpartition(":")[2]
        if len(self._open) > _DEEPEST_ELEMENT:
            raise ValueError(f"Sequences are nested deeper than {_DEEPEST}.")
        self._budget.spend(elements=1)
        self._open.append(_Node(name, attributes))

    def _text(self, text: str) -> None:
        self._open[-1].text.append(text)

    def _end(self, _: str) -> None:
        node = self._open.pop()
        if not self._open:
            if node.name != _ROOT:
                raise ValueError(f"The document's root is not {_ROOT}.")
            self._data_set = node.members
        elif node.name == "DicomAttribute":
            _add_member(self._open[-1], node.attributes.get("tag", ""), self._attribute(node))
        else:
            self._add(node, self._open[-1])

    def _add(self, node: _Node, parent: _Node) -> None:
        """Add what an element says to the one around it."""
        text = "".join(node.text)
        if node.name in _VALUES:
            self._add_value(parent, node, text)
        elif node.name == "BulkData":
            uri = node.attributes.get("uri") or node.attributes.get("uuid") or ""
            parent.members["BulkDataURI"] = uri
        elif node.name == "InlineBinary":
            parent.members["InlineBinary"] = "".join(text.split())
        elif node.name in COMPONENTS:
            parent.members[node.name] = text
        else:  # a component group of a name, or what this model has not
            parts = (str(node.members.get(each, "")) for each in COMPONENTS)
            parent.members[node.name] = "^".join(parts).rstrip("^")

    def _add_value(self, parent: _Node, node: _Node, text: str) -> None:
        number = _number(node)
        if number in parent.values:
            raise ValueError(f"{_tag(parent)} has two values or items with one number.")
        parent.values[number] = (text or None) if node.name == "Value" else node.members

    def _attribute(self, node: _Node) -> dict[str, object]:
        attribute = {"vr": node.attributes.get("vr"), **node.members}
        if node.values:
            attribute["Value"] = self._in_order(node)
        return attribute

    def _in_order(self, node: _Node) -> list[object]:
        """Return values by their numbers, None for those that are absent."""
        last = max(node.values)
        absent = last - len(node.values)
        if absent and node.attributes.get("vr") == "SQ":
            raise ValueError(f"{_tag(node)} has items whose numbers are not 1, 2, 3 and so on.")
        self._budget.spend(values=absent)
        return [node.values.get(number) for number in range(1, last + 1)]


def _add_member(parent: _Node, tag: str, attribute: dict[str, object]) -> None:
    if tag in parent.members:
        raise ValueError("A data set has a tag twice.")
    parent.members[tag] = attribute


def _number(node: _Node) -> int:
    text = node.attributes.get("number", "1")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
    if number < 1:
        raise ValueError("A number of a value or item is none.")
    return number


def _tag(node: _Node) -> str:
    tag = node.attributes.get("tag", "")
    return tag if len(tag) == 8 and tag.isalnum() and tag.isascii() else "An element"


def _refuse_document_type(*_: object) -> None:
    raise InvalidXml(_NO_XML)
