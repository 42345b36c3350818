from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.native_conversion import (
    READABLE,
    WRITABLE,
    NativeConverter,
    Replacement,
)
from dimse_ingestion.dicom.value_representations import little_endian

EXPLICIT, IMPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN
BIG, DEFLATED = uids.EXPLICIT_VR_BIG_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN


def data_set_of(path: Path) -> tuple[str, bytes]:
    file = path.read_bytes()
    meta = dcmread(BytesIO(file), stop_before_pixels=True).file_meta
    return str(meta.TransferSyntaxUID), file[144 + int.from_bytes(file[140:144], "little") :]


def native_files() -> list[Path]:
    """Return pydicom's files in native transfer syntaxes, with file meta information."""
    found = []
    for name in get_testdata_files("*.dcm"):
        path = Path(name)
        try:
            syntax, _ = data_set_of(path)
        except Exception:  # noqa: BLE001 - files that are broken on purpose
            continue
        is_whole = "truncated" not in name and "no_meta_group_length" not in name
        if is_whole and syntax in READABLE and path.stat().st_size < 2_000_000:
            found.append(path)
    return found


def converted(content: bytes, source: str, target: str, piece: int = 1 << 30) -> bytes:
    converter = NativeConverter(source, target)
    pieces = [
        converter.feed(content[start : start + piece]) for start in range(0, len(content), piece)
    ]
    return b"".join(pieces) + converter.finish()


def read(content: bytes, syntax: str) -> Dataset:
    return read_dataset(BytesIO(content), syntax == IMPLICIT, True)


def values(data_set: Dataset, *, is_big: bool = False) -> dict[str, object]:
    """Return what the elements mean, but for group lengths and the VR of unknown ones."""
    found: dict[str, object] = {}
    for each in data_set:
        if each.tag.element == 0:
            continue
        value = each.value
        if each.VR == "SQ":
            value = [values(item, is_big=is_big) for item in value]
        elif is_big and isinstance(value, bytes):  # pydicom leaves the words as they are
            words = {32: "OL", 64: "OV"} if each.keyword == "PixelData" else {}
            value = little_endian(value, words.get(data_set.get("BitsAllocated"), each.VR))
        if each.keyword == "LUTData" and not isinstance(value, bytes):  # US or OW
            value = b"".join(number.to_bytes(2, "little") for number in value)
        if each.keyword == "LUTDescriptor":  # US or SS
            value = [number & 0xFFFF for number in value]
        found[str(each.tag)] = value
    return found


FILES = native_files()


def test_there_are_files_of_every_native_transfer_syntax() -> None:
    assert {data_set_of(path)[0] for path in FILES} == READABLE


@pytest.mark.parametrize("target", sorted(WRITABLE))
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pydicom_reads_the_same_values_in_the_other_transfer_syntax(
    path: Path, target: str
) -> None:
    source, content = data_set_of(path)
    result = converted(content, source, target)
    original = values(dcmread(path), is_big=source == BIG)
    private = {key for key in original if int(key[1:5], 16) % 2}
    got = values(read(result, target))
    assert got.keys() == original.keys()
    for key in original.keys() - private:
        assert got[key] == original[key], key


@pytest.mark.parametrize("path", FILES[:8], ids=lambda path: path.name)
def test_the_pieces_make_no_difference(path: Path) -> None:
    source, content = data_set_of(path)
    whole = converted(content, source, IMPLICIT)
    for piece in (97, 1013, 65536):
        assert converted(content, source, IMPLICIT, piece) == whole


@pytest.mark.parametrize("source", [EXPLICIT, IMPLICIT])
def test_there_and_back_again_are_the_same_bytes(source: str) -> None:
    item, inner = Dataset(), Dataset()
    inner.CodeValue = "1"
    item.ConceptNameCodeSequence = [inner]
    item.PixelRepresentation = 0
    data_set = Dataset()
    data_set.PatientName = "Doe^Jane"
    data_set.PixelRepresentation = 1
    data_set.SmallestImagePixelValue = -5
    data_set.ContentSequence = [item, Dataset()]
    data_set.RequestAttributesSequence = []
    data_set.PixelData = bytes(range(200))
    data_set["PixelData"].VR = "OW"
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = True, source == IMPLICIT
    for each in data_set.iterall():
        if each.VR == "SQ":
            each.is_undefined_length = True
            for part in each.value:
                part.is_undefined_length_sequence_item = True
    write_dataset(output, data_set)
    content = output.getvalue()
    target = IMPLICIT if source == EXPLICIT else EXPLICIT
    there = converted(content, source, target)
    assert there != content
    assert converted(there, target, source) == content


def test_a_value_that_is_too_long_for_its_vr_is_un() -> None:
    long = (0x0008).to_bytes(2, "little") + (0x0058).to_bytes(2, "little")
    content = long + (70_000).to_bytes(4, "little") + b"1" * 70_000
    result = converted(content, IMPLICIT, EXPLICIT)
    assert result[:12] == long + b"UN\0\0" + (70_000).to_bytes(4, "little")
    assert result[12:] == b"1" * 70_000


def test_compressed_pixels_are_refused() -> None:
    content = b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    with pytest.raises(DimseFailure, match="Compressed"):
        converted(content, EXPLICIT, IMPLICIT)


@pytest.mark.parametrize("cut", [1, 7, 30, 200])
def test_a_data_set_that_ends_early_is_refused(cut: int) -> None:
    source, content = data_set_of(next(path for path in FILES if path.name == "CT_small.dcm"))
    with pytest.raises(DimseFailure):
        converted(content[:-cut], source, IMPLICIT)


@pytest.mark.parametrize(
    ("source", "target"), [("1.2.840.10008.1.2.4.50", EXPLICIT), (EXPLICIT, BIG), (BIG, DEFLATED)]
)
def test_other_transfer_syntaxes_are_refused(source: str, target: str) -> None:
    with pytest.raises(ValueError, match="not converted"):
        NativeConverter(source, target)


def element_of(tag: int, vr: bytes, value: bytes) -> bytes:
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    return head + vr + len(value).to_bytes(2, "little") + value


ROWS, COLOUR = element_of(0x00280010, b"US", b"\1\0"), element_of(0x00280004, b"CS", b"RGB ")
LUT = element_of(0x00281201, b"LO", b"x ")


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (COLOUR + ROWS + LUT, b"new" + ROWS + LUT),
        (ROWS + LUT, b"new" + ROWS + LUT),
        (COLOUR, b"new"),
        (b"", b"new"),
        (COLOUR + COLOUR + LUT, b"new" + LUT),
    ],
    ids=["in its place", "in order", "alone", "at the end", "twice"],
)
def test_an_element_is_replaced_in_the_order_of_tags(
    content: bytes, expected: bytes, piece: int
) -> None:
    new = element_of(0x00280004, b"CS", b"PALETTE COLOR ")
    replaced = {0x00280004: Replacement("CS", b"PALETTE COLOR "), 0x00280011: None}
    converter = NativeConverter(EXPLICIT, EXPLICIT, replaced)
    columns = element_of(0x00280011, b"US", b"\1\0")
    content = content.replace(LUT, columns + LUT)
    result = b"".join(
        converter.feed(content[at : at + piece]) for at in range(0, len(content), piece)
    )
    assert result + converter.finish() == expected.replace(b"new", new)


def test_groups_that_no_data_set_may_have_are_left_out() -> None:
    stray = element_of(0x00000002, b"UI", b"1.2\0") + element_of(0x00041500, b"CS", b"A ")
    assert converted(stray + ROWS, EXPLICIT, EXPLICIT) == ROWS


def test_an_icon_changes_nothing_for_the_words_of_the_image() -> None:
    """Big endian words of Pixel Data are as long as its samples, whatever an icon's are."""
    outer, icon = Dataset(), Dataset()
    icon.BitsAllocated = 16
    icon.PixelData = b"\1\2"
    outer.BitsAllocated = 32
    outer.IconImageSequence = [icon]
    outer.PixelData = b"\1\2\3\4"
    outer["PixelData"].VR = icon["PixelData"].VR = "OW"
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = False, False
    write_dataset(output, outer)
    result = read(converted(output.getvalue(), BIG, EXPLICIT), EXPLICIT)
    assert result.PixelData == b"\4\3\2\1"
    assert result.IconImageSequence[0].PixelData == b"\2\1"
