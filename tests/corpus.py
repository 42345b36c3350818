"""The corpus: 57 instances as different as those of a hospital, one study.

Every native and compressed transfer syntax that is known here, grey values, colours and palettes of
1 to 64 bits, frames and fragments, reports, documents, video, waveforms, private elements. All are
written by `corpus()`; what DCMTK and pydicom can decode of them is said with each.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset, dcmread
from pydicom.sequence import Sequence

from harness.modalities import program
from tests.corpus_images import (
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSY,
    STUDY,
    changed,
    compressed,
    encoded,
    gradient,
    htj2k_pixels,
    image,
    in_fragments,
    instance,
    palette,
    written,
)

_CLASS = "1.2.840.10008.5.1.4.1.1"
CR, DX, CT, ENHANCED_CT = (f"{_CLASS}.{n}" for n in ("1", "1.1", "2", "2.1"))
MR, SC, US, US_FRAMES = (f"{_CLASS}.{n}" for n in ("4", "7", "6.1", "3.1"))
WORD_FRAMES, COLOUR_FRAMES = (f"{_CLASS}.7.{n}" for n in (3, 4))
DOSE, PLAN, SEGMENTATION, PARAMETRIC = (f"{_CLASS}.{n}" for n in ("481.2", "481.5", "66.4", "30"))
PHOTO, VIDEO, REPORT, NOTE = (f"{_CLASS}.{n}" for n in ("77.1.4", "77.1.1.1", "88.11", "88.59"))
PDF, ECG = f"{_CLASS}.104.1", f"{_CLASS}.9.1.1"

_SYNTAX = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, BIG, DEFLATED = _SYNTAX, f"{_SYNTAX}.1", f"{_SYNTAX}.2", f"{_SYNTAX}.1.99"
NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG, DEFLATED})
UNCOMPRESSED, RLE, MPEG4 = f"{_SYNTAX}.1.98", f"{_SYNTAX}.5", f"{_SYNTAX}.4.102"
JPEG_2000_LOSSLESS, JPEG_2000 = f"{_SYNTAX}.4.90", f"{_SYNTAX}.4.91"
HT_LOSSLESS, HT_RPCL, HT = (f"{_SYNTAX}.4.{n}" for n in (201, 202, 203))
SIZE = 57


@dataclass(frozen=True)
class CorpusInstance:
    """One file of the corpus."""

    name: str
    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str

    @property
    def is_lossy(self) -> bool:
        """Return whether decoders may differ by rounding."""
        return self.name.startswith(("baseline", "extended"))


@dataclass(frozen=True)
class _Made:
    """A name, and what writes a file with the instance of this number."""

    name: str
    make: Callable[[int, Path], Path]


_MADE: list[_Made] = []


def corpus(folder: Path) -> list[CorpusInstance]:
    """Write all instances to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _described(each.name, each.make(number, folder / f"{number:02}.dcm"))
        for number, each in enumerate(_MADE, start=1)
    ]


def _described(name: str, path: Path) -> CorpusInstance:
    head: Any = dcmread(path, stop_before_pixels=True)
    return CorpusInstance(
        name,
        path,
        str(head.SOPInstanceUID),
        str(head.SOPClassUID),
        str(head.file_meta.TransferSyntaxUID),
    )


def _converted(path: Path, *options: str) -> Path:
    """Have DCMTK write a file anew."""
    source = path.rename(path.with_suffix(".first"))
    subprocess.run([program("dcmconv"), *options, str(source), str(path)], check=True)
    source.unlink()
    return path


def _native(name: str, make: Callable[[int], Any], *options: str, syntax: str = EXPLICIT) -> None:
    """Add an instance in a native transfer syntax, written again by DCMTK if there are options."""

    def write(number: int, path: Path) -> Path:
        written(make(number), path, syntax)
        return _converted(path, *options) if options else path

    _MADE.append(_Made(name, write))


def _dcmtk(name: str, make: Callable[[int], Any], tool: str, *options: str) -> None:
    never = ["+un"]
    _MADE.append(_Made(name, lambda n, path: encoded(make(n), path, tool, *never, *options)))


def _pydicom(name: str, make: Callable[[int], Any], syntax: str, **options: Any) -> None:
    _MADE.append(_Made(name, lambda n, path: compressed(make(n), path, syntax, **options)))


def _frames(name: str, make: Callable[[int], Any], syntax: str, *frames: bytes) -> None:
    _MADE.append(_Made(name, lambda n, path: in_fragments(make(n), path, syntax, *frames)))


def _grey8(number: int, sop_class_uid: str = CR) -> Any:
    return image(number, sop_class_uid, gradient(8))


def _grey12(number: int) -> Any:
    return image(number, CT, gradient(12), stored=12)


def _grey16(number: int) -> Any:
    return image(number, DX, gradient(16))


def _signed(number: int) -> Any:
    return image(number, MR, gradient(16, signed=True))


def _rgb(number: int, planar: int = 0) -> Any:
    return image(number, SC, gradient(8, samples=3), "RGB", planar=planar)


def _rgb_frames(number: int) -> Any:
    return image(number, COLOUR_FRAMES, gradient(8, samples=3, frames=3), "RGB", frames=3)


def _grey_frames(number: int) -> Any:
    return image(number, WORD_FRAMES, gradient(12, frames=5), stored=12, frames=5)


def _palette(number: int) -> Any:
    return palette(image(number, US, gradient(8), "PALETTE COLOR"))


def _large(number: int) -> Any:
    noise = np.random.default_rng(57).integers(0, 4096, (128, 128), dtype=np.uint16)
    return image(number, CT, noise, stored=12)


def _subsampled(number: int) -> Any:
    data_set = image(number, SC, gradient(8, samples=3), "RGB")
    luma = gradient(8).reshape(-1, 2)
    chroma = np.full((len(luma), 2), (100, 160), np.uint8)
    data_set.PhotometricInterpretation = "YBR_FULL_422"
    data_set.PixelData = np.hstack([luma, chroma]).tobytes()
    data_set["PixelData"].VR = "OB"
    return data_set


def _bits(number: int) -> Any:
    mask = (gradient(8, frames=3, rows=5, columns=7) > 127).astype(np.uint8)
    data_set = image(number, SEGMENTATION, mask, frames=3)
    packed = np.packbits(mask.ravel(), bitorder="little").tobytes()
    data_set.BitsAllocated = data_set.BitsStored = 1
    data_set.HighBit = 0
    data_set.PixelData = packed + b"\0" * (len(packed) % 2)
    return data_set


def _odd(number: int) -> Any:
    return image(number, CR, gradient(8, rows=7, columns=9), "MONOCHROME1")


def _floats(number: int) -> Any:
    pixels = gradient(16).astype(np.float32) / 7
    return image(number, PARAMETRIC, pixels, keyword="FloatPixelData")


def _doubles(number: int) -> Any:
    pixels = gradient(16).astype(np.float64) / 7
    return image(number, PARAMETRIC, pixels, keyword="DoubleFloatPixelData")


def _report(number: int) -> Any:
    data_set = instance(number, REPORT, "SR")
    code, text, outer = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121071", "DCM", "Finding"
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", "Gr\u00f6\u00dfe"
    text.ConceptNameCodeSequence = Sequence([code])
    outer.ValueType, outer.ContentSequence = "CONTAINER", Sequence([text, text])
    data_set.ContentSequence = Sequence([outer, Dataset()])
    data_set.ReferencedRequestSequence = Sequence([])
    return data_set


def _note(number: int) -> Any:
    data_set = instance(number, NOTE, "KO")
    referenced: Any = Dataset()
    referenced.ReferencedSOPClassUID, referenced.ReferencedSOPInstanceUID = CT, f"{STUDY}.1.5"
    data_set.CurrentRequestedProcedureEvidenceSequence = Sequence([referenced])
    return data_set


def _document(number: int) -> Any:
    data_set = instance(number, PDF, "DOC")
    data_set.MIMETypeOfEncapsulatedDocument = "application/pdf"
    data_set.EncapsulatedDocument = b"%PDF-1.4\n%%EOF\n" * 1000
    data_set.EncapsulatedDocumentLength = len(data_set.EncapsulatedDocument)
    return data_set


def _waveform(number: int) -> Any:
    data_set = instance(number, ECG, "ECG")
    group: Any = Dataset()
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 2, 300
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = np.arange(-300, 300, dtype="<i2").tobytes()
    group["WaveformData"].VR = "OW"
    data_set.WaveformSequence = Sequence([group])
    return data_set


def _private(number: int) -> Any:
    data_set = _grey8(number)
    block = data_set.private_block(0x0009, "CORPUS", create=True)
    block.add_new(0x01, "LO", "a private value")
    block.add_new(0x02, "OB", bytes(range(256)))
    item = Dataset()
    item.add(DataElement(0x00090010, "LO", "CORPUS"))
    item.add(DataElement(0x00091003, "UN", b"\1\2\3\4"))
    block.add_new(0x04, "SQ", Sequence([item, item]))
    data_set.private_block(0x7FE1, "BEHIND THE PIXELS", create=True).add_new(1, "UN", bytes(2000))
    return data_set


def _enhanced(number: int) -> Any:
    data_set = image(number, ENHANCED_CT, gradient(12, frames=4), stored=12, frames=4)
    groups = []
    for frame in range(4):
        content: Any = Dataset()
        content.DimensionIndexValues = [1, frame + 1]
        group: Any = Dataset()
        group.FrameContentSequence = Sequence([content])
        groups.append(group)
    data_set.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return data_set


def _odd_uids(number: int) -> Any:
    data_set = instance(number, PLAN, "RTPLAN")
    data_set.SOPInstanceUID = f"{STUDY}.1.9999".ljust(64, "7")
    data_set.FrameOfReferenceUID = "1.2.3"
    data_set.RTPlanLabel = "ODD"
    return data_set


def _video(number: int) -> Any:
    data_set = image(number, VIDEO, gradient(8, samples=3, frames=2), "RGB", frames=2)
    data_set.PhotometricInterpretation = "YBR_PARTIAL_420"
    return data_set


def _ht(number: int) -> Any:
    return image(number, DX, htj2k_pixels())


# native
_native("grey 8 explicit", _grey8)
_native("grey 8 implicit", _grey8, "+ti")
_native("grey 8 big endian", _grey8, "+tb")
_native("grey 8 deflated", _grey8, "+td")
_native("grey 12 explicit", _grey12)
_native("grey 16 big endian", _grey16, "+tb")
_native("signed 16 implicit", _signed, "+ti")
_native("signed 16 big endian", _signed, "+tb")
_native("grey 32", lambda n: image(n, DOSE, gradient(32)))
_native("bits in frames", _bits)
_native("odd rows and columns", _odd)
_native("RGB by pixel", _rgb)
_native("RGB by plane", lambda n: _rgb(n, 1))
_native("RGB 16 implicit", lambda n: image(n, SC, gradient(16, samples=3), "RGB"), "+ti")
_native("YBR_FULL", lambda n: image(n, SC, gradient(8, samples=3), "YBR_FULL"))
_native("YBR_FULL_422", _subsampled)
_native("palette", _palette)
_native("palette big endian", _palette, "+tb")
_native("frames deflated", _grey_frames, "+td")
_native("float pixels", _floats)
_native("double float pixels", _doubles)
# JPEG
_dcmtk("baseline grey", _grey8, "dcmcjpeg", "+eb")
_dcmtk("baseline YBR_FULL_422", _rgb, "dcmcjpeg", "+eb")
_dcmtk("baseline YBR_FULL", _rgb, "dcmcjpeg", "+eb", "+s4")
_dcmtk("baseline RGB", _rgb, "dcmcjpeg", "+eb", "+cr")
_dcmtk("baseline frames", _rgb_frames, "dcmcjpeg", "+eb")
_dcmtk("extended 12", _grey12, "dcmcjpeg", "+ee")
_dcmtk("lossless 16", _grey16, "dcmcjpeg", "+el")
_dcmtk("lossless signed", _signed, "dcmcjpeg", "+e1")
_dcmtk("lossless RGB", _rgb, "dcmcjpeg", "+e1")
_dcmtk("lossless palette", _palette, "dcmcjpeg", "+e1")
_dcmtk("lossless frames", _grey_frames, "dcmcjpeg", "+e1")
_dcmtk("lossless in fragments", _large, "dcmcjpeg", "+e1", "+fs", "2")
_dcmtk("lossless private", _private, "dcmcjpeg", "+e1")
# JPEG-LS
_dcmtk("JPEG-LS 12", _grey12, "dcmcjpls", "+el")
_dcmtk("JPEG-LS RGB", _rgb, "dcmcjpls", "+el")
_dcmtk("JPEG-LS near", _grey8, "dcmcjpls", "+en")
_dcmtk("JPEG-LS near frames", _grey_frames, "dcmcjpls", "+en")
# RLE
_dcmtk("RLE grey 16", _grey16, "dcmcrle")
_dcmtk("RLE RGB", _rgb, "dcmcrle")
_dcmtk("RLE frames", _grey_frames, "dcmcrle", "-ot")
_dcmtk("RLE enhanced", _enhanced, "dcmcrle")
_dcmtk("RLE 32", lambda n: image(n, DOSE, gradient(32)), "dcmcrle")
# JPEG 2000
_pydicom("JPEG 2000 signed", _signed, JPEG_2000_LOSSLESS)
_pydicom(
    "JPEG 2000 YBR_RCT",
    lambda n: changed(_rgb(n), {"PhotometricInterpretation": "YBR_RCT"}),
    JPEG_2000_LOSSLESS,
)
_pydicom(
    "JPEG 2000 YBR_ICT",
    lambda n: changed(_rgb(n), {"PhotometricInterpretation": "YBR_ICT"}),
    JPEG_2000,
    j2k_cr=[8],
)
_pydicom(
    "JPEG 2000 with an extended offset table",
    _grey_frames,
    JPEG_2000_LOSSLESS,
    encapsulate_ext=True,
)
_frames("HTJ2K lossless", _ht, HT_LOSSLESS, HTJ2K_LOSSLESS)
_frames("HTJ2K RPCL", _ht, HT_RPCL, HTJ2K_LOSSLESS)
_frames("HTJ2K lossy", _ht, HT, HTJ2K_LOSSY)
_frames("samples in fragments", _grey8, UNCOMPRESSED, gradient(8).tobytes())
# no images, and video
_native("report", _report, "+te", "-e")
_native("key object note", _note, "+ti", "+e")
_native("PDF", _document)
_native("waveform big endian", _waveform, "+tb")
_native("odd UIDs", _odd_uids)
_frames("video", _video, MPEG4, b"\0\0\0\x18ftypmp42" + bytes(500))
assert len(_MADE) == SIZE
