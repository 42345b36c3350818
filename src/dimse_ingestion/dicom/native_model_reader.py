"""A reader of the Native DICOM Model (PS3.19 annex A.1) into objects of the DICOM JSON Model.

The document is not held as a tree: each XML element is converted when it ends, and its content is
counted against the limits first. Names are read without their namespace, because resolving
namespaces can multiply a document's size. A document type declaration is refused, and with it
every entity.
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
    """A document that is not XML, or has a DTD."""


@dataclass(slots=True)
class _Node:
    """An open XML element: its attributes and the content of its inner elements."""

    name: str
    attributes: dict[str, str]
    text: list[str] = field(default_factory=list)
    members: dict[str, object] = field(default_factory=dict)
    values: dict[int, object] = field(default_factory=dict)


class NativeModelReader:
    """Read one document."""

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

        Raises ValueError with a sentence that repeats no value, InvalidXml if it is not XML.
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
        """Add the content of an XML element to its parent."""
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
        """Return the values in order of their numbers, with None for absent ones."""
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
