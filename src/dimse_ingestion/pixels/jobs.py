"""Jobs of the decoder processes, and their results, without any pixel library.

`decoder_pool` sends them to the processes; `decoder` performs them there.
"""

from dataclasses import dataclass, replace
from pathlib import Path

JPEG, PNG = "image/jpeg", "image/png"
QUALITY = 90
"""The JPEG quality of a rendered image, unless another one is requested."""


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window: its center and width in values after the modality LUT, and its function."""

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image, in fractions if `is_relative`, else in pixels; 0 means all of it."""

    x: float
    y: float
    width: float
    height: float
    is_relative: bool = False

    def within(self, columns: int, rows: int) -> tuple[int, int, int, int]:
        """Return left, top, width and height in pixels, each at least one."""
        across, down = (columns, rows) if self.is_relative else (1, 1)
        x, width = _pixel_span(self.x * across, self.width * across, columns)
        y, height = _pixel_span(self.y * down, self.height * down, rows)
        return x, y, width, height


def _pixel_span(begin: float, length: float, whole: int) -> tuple[int, int]:
    start = min(max(0, round(begin)), whole - 1)
    size = min(max(1, round(abs(length)) or whole), whole - start)
    return start, -size if length < 0 else size


@dataclass(frozen=True, slots=True)
class RenderParameters:
    """Parameters of a rendering; `size` is the maximum width and height, if any."""

    media_type: str = JPEG
    quality: int = QUALITY
    window: Window | None = None
    region: Region | None = None
    size: tuple[int, int] | None = None
    is_thumbnail: bool = False


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """A frame to decode: its bytes, and its image's elements in explicit VR little endian.

    `keyword` names the attribute that has the pixels.
    """

    frame: bytes
    presentation: bytes
    transfer_syntax_uid: str
    is_encapsulated: bool
    keyword: str = "PixelData"

    def of(self, frame: bytes) -> "DecodeJob":
        """Return the same job for another frame."""
        return replace(self, frame=frame)


@dataclass(frozen=True, slots=True)
class FrameRanges:
    """The byte ranges of a frame in a file as offsets and lengths; `length` is its size."""

    ranges: tuple[tuple[int, int], ...]
    length: int

    def read(self, path: Path) -> bytes:
        """Return the frame's bytes from the file."""
        with path.open("rb") as file:
            pieces = []
            for offset, length in self.ranges:
                file.seek(offset)
                pieces.append(file.read(length))
        return b"".join(pieces)[: self.length]


@dataclass(frozen=True, slots=True)
class DecodedPixels:
    """Decoded frames as they stand in a file: the value of Pixel Data, in little endian.

    `length` is that of the value in bytes, padded to an even number. Samples of colours are by
    pixel (Planar Configuration 0). `is_lossy` is True if a code stream has lost information.
    """

    length: int
    bits_allocated: int
    samples_per_pixel: int
    photometric_interpretation: str
    is_lossy: bool
