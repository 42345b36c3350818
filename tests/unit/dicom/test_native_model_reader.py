import tracemalloc

import pytest

from dimse_ingestion.dicom.native_model_reader import InvalidXml, NativeModelReader


def read(content: str | bytes) -> dict[str, object]:
    inner = content.encode() if isinstance(content, str) else content
    return NativeModelReader().read(b"<NativeDicomModel>" + inner + b"</NativeDicomModel>")


def attribute(inner: str, tag: str = "00081140", vr: str = "SQ") -> str:
    return f'<DicomAttribute tag="{tag}" vr="{vr}">{inner}</DicomAttribute>'


def test_values_are_in_the_order_of_their_numbers() -> None:
    found = read(attribute('<Value number="3">c</Value><Value number="1">a</Value>', vr="LO"))
    assert found == {"00081140": {"vr": "LO", "Value": ["a", None, "c"]}}


def test_namespaces_are_passed_over() -> None:
    document = (
        b'<n:NativeDicomModel xmlns:n="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        b'<n:DicomAttribute tag="00100020" vr="LO"><n:Value number="1">x</n:Value>'
        b"</n:DicomAttribute></n:NativeDicomModel>"
    )
    assert NativeModelReader().read(document) == {"00100020": {"vr": "LO", "Value": ["x"]}}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1"])
def test_encodings_of_xml_are_read(encoding: str) -> None:
    name = {"utf-8-sig": "UTF-8", "utf-16-le": "UTF-16"}.get(encoding, encoding)
    bom = "\ufeff" if encoding == "utf-16-le" else ""
    document = (
        f'{bom}<?xml version="1.0" encoding="{name}"?><NativeDicomModel>'
        f"{attribute('<Value>Ä&amp;&#66;</Value>', vr='LO')}</NativeDicomModel>"
    )
    found = NativeModelReader().read(document.encode(encoding))
    assert found == {"00081140": {"vr": "LO", "Value": ["Ä&B"]}}


@pytest.mark.parametrize(
    ("inner", "sentence"),
    [
        (attribute('<Item number="1000000"/>'), "items whose numbers are not"),
        (attribute('<Item number="1"/><Item number="3"/>'), "items whose numbers are not"),
        (attribute('<Item number="1"/><Item number="1"/>'), "two values or items"),
        (attribute('<Value number="99999999999">x</Value>', vr="LO"), "number of a value"),
        (attribute('<Value number="0">x</Value>', vr="LO"), "number of a value"),
        (attribute('<Value number="-1">x</Value>', vr="LO"), "number of a value"),
        (attribute('<Value number="9999999">x</Value>', vr="LO"), "more than"),
        (attribute("") * 2, "a tag twice"),
        ("<a>" * 200_000, "nested deeper"),
        ("<DicomAttribute><Item>" * 200, "nested deeper"),
    ],
)
def test_what_would_grow_is_refused(inner: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read(inner)


def test_absent_values_are_counted_over_the_whole_document() -> None:
    value = '<Value number="1000000">1</Value>'
    many = "".join(attribute(value, f"{number:08X}", "UI") for number in range(400))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            read(many)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_many_elements_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 500000 elements"):
        read(b'<DicomAttribute tag="a" vr=""/>'.replace(b"DicomAttribute", b"x") * 600_000)


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><NativeDicomModel/>',
        b'<!DOCTYPE l [<!ENTITY a "aaaa">]><NativeDicomModel>&a;</NativeDicomModel>',
        b"<NativeDicomModel>&a;</NativeDicomModel>",
        b'<?xml version="1.0" encoding="none"?><NativeDicomModel/>',
        b'<?xml version="1.0" encoding="big5"?><NativeDicomModel/>',
        b"<NativeDicomModel>\0</NativeDicomModel>",
        b"<NativeDicomModel>\xff</NativeDicomModel>",
    ],
)
def test_invalid_xml_and_entities_are_refused(document: bytes) -> None:
    with pytest.raises(InvalidXml):
        NativeModelReader().read(document)
