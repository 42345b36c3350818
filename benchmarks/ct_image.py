"""CT images as bytes in Explicit VR Little Endian, made without pydicom.

A sender changes the identifiers of a prepared image in place, so that each object is another one
and making it costs microseconds. The elements are those that a scanner sends and archives index.
"""

import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from benchmarks.pictures import pixels_of

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
STUDIES_A_DAY = 100
_UID_ROOT = "1.2.826.0.1.3680043.8.498"
_LONG_VRS = ("OW",)
_BLOCK = array("H", (1000 + x % 512 + x * 7919 % 61 for x in range(1 << 16))).tobytes()

IDENTIFIERS = {
    "instance": (0x0008, 0x0018, "UI"),
    "study_date": (0x0008, 0x0020, "DA"),
    "accession_number": (0x0008, 0x0050, "SH"),
    "patient_name": (0x0010, 0x0010, "PN"),
    "patient_id": (0x0010, 0x0020, "LO"),
    "study": (0x0020, 0x000D, "UI"),
    "series": (0x0020, 0x000E, "UI"),
}
"""What differs from image to image; each value has the same length in all of them."""

CONSTANTS = (
    (0x0008, 0x0005, "CS", "ISO_IR 100"),
    (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
    (0x0008, 0x0016, "UI", CT_IMAGE_STORAGE),
    (0x0008, 0x0030, "TM", "101500"),
    (0x0008, 0x0060, "CS", "CT"),
    (0x0008, 0x0070, "LO", "Benchmark"),
    (0x0008, 0x0090, "PN", "Referring^Physician"),
    (0x0008, 0x1030, "LO", "CT of the thorax"),
    (0x0008, 0x103E, "LO", "Lung 1.0 mm"),
    (0x0010, 0x0030, "DA", "19600229"),
    (0x0010, 0x0040, "CS", "O"),
    (0x0018, 0x0015, "CS", "CHEST"),
    (0x0018, 0x0050, "DS", "1.0"),
    (0x0018, 0x0060, "DS", "120"),
    (0x0018, 0x5100, "CS", "HFS"),
    (0x0020, 0x0010, "SH", "1"),
    (0x0020, 0x0011, "IS", "1"),
    (0x0020, 0x0013, "IS", "1"),
    (0x0020, 0x0032, "DS", "-250\\-250\\-100"),
    (0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"),
    (0x0028, 0x0002, "US", 1),
    (0x0028, 0x0004, "CS", "MONOCHROME2"),
    (0x0028, 0x0030, "DS", "0.7\\0.7"),
    (0x0028, 0x0100, "US", 16),
    (0x0028, 0x0101, "US", 12),
    (0x0028, 0x0102, "US", 11),
    (0x0028, 0x0103, "US", 0),
    (0x0028, 0x1050, "DS", "250"),
    (0x0028, 0x1051, "DS", "600"),
    (0x0028, 0x1052, "DS", "-1024"),
    (0x0028, 0x1053, "DS", "1"),
)


@dataclass(frozen=True)
class Identity:
    """The identifiers of a run's images; `run` is a number below 10**11 that no other run has."""

    run: int
    images_a_study: int = 1_000_000

    def values(self, number: int) -> dict[str, str]:
        """Return the identifiers of the image with this number."""
        study = number // self.images_a_study
        day = date(2000, 1, 1) + timedelta(days=study // STUDIES_A_DAY)
        root = f"{_UID_ROOT}.1{self.run:011}"
        return {
            "instance": f"{root}.3{number:010}",
            "study_date": f"{day:%Y%m%d}",
            "accession_number": f"A{study:015}",
            "patient_name": f"Bench^P{study:010}",
            "patient_id": f"P{study:015}",
            "study": f"{root}.1{study:010}",
            "series": f"{root}.2{study:010}",
        }


def explicit_element(group: int, number: int, vr: str, value: bytes) -> bytes:
    """Encode an element whose value has an even length."""
    if vr in _LONG_VRS:
        return struct.pack("<HH2s2xI", group, number, vr.encode(), len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def padded(value: str | int, vr: str) -> bytes:
    """Encode a value, padded to an even length."""
    if isinstance(value, int):
        return struct.pack("<H", value)
    raw = value.encode("latin-1")
    return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)


def patch(message: bytearray, offsets: Mapping[str, list[int]], values: Mapping[str, str]) -> None:
    """Write the identifiers into a message at their offsets."""
    for name, places in offsets.items():
        value = padded(values[name], IDENTIFIERS[name][2])
        for place in places:
            message[place : place + len(value)] = value


@dataclass(frozen=True)
class CtImage:
    """An image of so many rows and columns of 16 bits; its identifiers are those of number 0.

    Its pixels are a pattern, or those of a `picture` that a scanner made (see `pictures`).
    """

    rows: int
    columns: int
    identity: Identity = field(default_factory=lambda: Identity(0))
    picture: str = ""

    @property
    def length(self) -> int:
        """The data set's length in bytes."""
        return len(self.header) + self._pixel_bytes

    @property
    def _pixel_bytes(self) -> int:
        return self.rows * self.columns * 2

    @cached_property
    def header(self) -> bytes:
        """The data set up to the first byte of pixels."""
        identifiers = self.identity.values(0)
        size = (0x0028, 0x0010, "US", self.rows), (0x0028, 0x0011, "US", self.columns)
        different = [(*IDENTIFIERS[name], value) for name, value in identifiers.items()]
        elements: list[tuple[int, int, str, str | int]] = [*CONSTANTS, *size, *different]
        elements.sort(key=lambda each: each[:2])
        encoded = [explicit_element(g, n, vr, padded(value, vr)) for g, n, vr, value in elements]
        pixels = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", self._pixel_bytes)
        return b"".join([*encoded, pixels])

    def offsets(self, message: bytes | bytearray) -> dict[str, list[int]]:
        """Return where a message has the identifiers of number 0."""
        return {
            name: list(_positions(message, padded(value, IDENTIFIERS[name][2])))
            for name, value in self.identity.values(0).items()
        }

    def chunks(self, length: int) -> Iterator[bytes]:
        """Yield the data set in chunks of this length; the same object where pixels repeat."""
        if self.picture:
            whole = self.header + pixels_of(self.picture, self._pixel_bytes)
            yield from (whole[at : at + length] for at in range(0, len(whole), length))
            return
        left = self._pixel_bytes
        first = pixels(min(left, max(0, length - len(self.header))))
        yield self.header + first
        left -= len(first)
        full = pixels(length) if left >= length else b""
        for _ in range(left // length):
            yield full
        if left % length:
            yield pixels(left % length)

    def part10(self, number: int) -> bytes:
        """Return the image with this number as a Part-10 file."""
        values = self.identity.values(number)
        data_set = bytearray(b"".join(self.chunks(1 << 20)))
        patch(data_set, self.offsets(self.header), values)
        meta = [
            (0x0002, 0x0001, "OB", b"\0\1"),
            (0x0002, 0x0002, "UI", padded(CT_IMAGE_STORAGE, "UI")),
            (0x0002, 0x0003, "UI", padded(values["instance"], "UI")),
            (0x0002, 0x0010, "UI", padded(EXPLICIT_VR_LITTLE_ENDIAN, "UI")),
            (0x0002, 0x0012, "UI", padded(f"{_UID_ROOT}.2", "UI")),
        ]
        encoded = b"".join(_meta_element(*each) for each in meta)
        length = explicit_element(0x0002, 0, "UL", struct.pack("<I", len(encoded)))
        return bytes(128) + b"DICM" + length + encoded + bytes(data_set)


def _meta_element(group: int, number: int, vr: str, value: bytes) -> bytes:
    if vr == "OB":
        return struct.pack("<HH2s2xI", group, number, b"OB", len(value)) + value
    return explicit_element(group, number, vr, value)


def pixels(length: int) -> bytes:
    """Return so many bytes of pixels."""
    return (_BLOCK * (length // len(_BLOCK) + 1))[:length]


def _positions(message: bytes | bytearray, value: bytes) -> Iterator[int]:
    position = message.find(value)
    while position >= 0:
        yield position
        position = message.find(value, position + 1)
