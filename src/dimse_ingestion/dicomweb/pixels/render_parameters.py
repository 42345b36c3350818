"""How an image is asked to be looked at (PS3.18 section 8.3.5): window, region, size, quality.

Read from query parameters and checked, for WADO-RS and WADO-URI alike; `decoding` applies it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from dimse_ingestion.dicomweb.http.problems import Problem

_MAX_SIDE = 8192
_QUALITY, _THUMBNAIL_QUALITY = 90, 75
_THUMBNAIL_SIDE = 200
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")
JPEG, PNG = "image/jpeg", "image/png"


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window: its center and width in values after the modality LUT, and its function."""

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image; shares of it where `is_relative`, else pixels. 0 means all of it."""

    x: float
    y: float
    width: float
    height: float
    is_relative: bool = False

    def within(self, columns: int, rows: int) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels of an image of this size, at least one each."""
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
    """What picture is wanted; `size` is the width and height it must fit into, None for its own."""

    media_type: str = JPEG
    quality: int = _QUALITY
    window: Window | None = None
    region: Region | None = None
    size: tuple[int, int] | None = None
    is_thumbnail: bool = False


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """A frame to be decoded: its bytes, and its image's elements in explicit VR little endian.

    `keyword` is that of the attribute which holds the pixels.
    """

    frame: bytes
    presentation: bytes
    transfer_syntax_uid: str
    is_encapsulated: bool
    keyword: str = "PixelData"

    def of(self, frame: bytes) -> "DecodeJob":
        """Return the same for another frame."""
        return replace(self, frame=frame)


@dataclass(frozen=True, slots=True)
class FrameRanges:
    """Where a frame's bytes stand in a file: offsets and lengths, `length` of them in all."""

    places: tuple[tuple[int, int], ...]
    length: int

    def read(self, path: Path) -> bytes:
        """Read them."""
        with path.open("rb") as file:
            pieces = []
            for offset, length in self.places:
                file.seek(offset)
                pieces.append(file.read(length))
        return b"".join(pieces)[: self.length]


def rendered_parameters(parameters: Mapping[str, str], media_type: str) -> RenderParameters:
    """The view of a rendered resource; raises Problem 400."""
    size, region = _viewport(parameters.get("viewport", ""))
    return RenderParameters(
        media_type=media_type,
        quality=_quality(parameters.get("quality", "")),
        window=_window(parameters.get("window", "")),
        region=region,
        size=size,
    )


def thumbnail_parameters(parameters: Mapping[str, str], media_type: str) -> RenderParameters:
    """The view of a thumbnail; `viewport` gives another size than 200 pixels. Problem 400."""
    size, region = _viewport(parameters.get("viewport", ""))
    size = size or (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    return RenderParameters(media_type, _THUMBNAIL_QUALITY, None, region, size, is_thumbnail=True)


def wado_uri_parameters(parameters: Mapping[str, str], media_type: str) -> RenderParameters:
    """The view of a WADO-URI request (PS3.18 section 9.1.2.2); raises Problem 400."""
    center, width = parameters.get("windowCenter", ""), parameters.get("windowWidth", "")
    if bool(center) != bool(width):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "windowCenter and windowWidth go together: give both or none."
        )
    return RenderParameters(
        media_type=media_type,
        quality=_quality(parameters.get("imageQuality", "")),
        window=_window(f"{center},{width}" if center else ""),
        region=_corners(parameters.get("region", "")),
        size=_rows_and_columns(parameters),
    )


def ignored_parameters(parameters: Mapping[str, str]) -> list[str]:
    """The parameters that were given and change nothing, to be told in a warning."""
    return [name for name in ("annotation", "iccprofile") if parameters.get(name)]


def _numbers(name: str, text: str) -> list[float]:
    """Numbers joined by commas; an empty one is 0."""
    try:
        numbers = [float(each) if each.strip() else 0.0 for each in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be numbers joined by commas.")
    return numbers


def _window(text: str) -> Window | None:
    if not text:
        return None
    parts = text.split(",")
    function = parts.pop().strip().lower().replace("_", "-") if len(parts) == 3 else "linear"
    numbers = _numbers("window", ",".join(parts))
    if len(numbers) != 2 or numbers[1] < 1 or function not in _FUNCTIONS:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "window must be center,width,function: a width of 1 or more, and "
            f"{', '.join(_FUNCTIONS)} as function.",
        )
    return Window(numbers[0], numbers[1], function)


def _viewport(text: str) -> tuple[tuple[int, int] | None, Region | None]:
    """The size to fit into, and the part of the image (PS3.18 8.3.5.1.3)."""
    if not text:
        return None, None
    numbers = _numbers("viewport", text)
    if len(numbers) not in (2, 4, 6):
        raise Problem(HTTPStatus.BAD_REQUEST, "viewport must be vw,vh or vw,vh,sx,sy,sw,sh.")
    size = _size("viewport", numbers[0], numbers[1])
    region = numbers[2:] + [0.0] * (6 - len(numbers))
    x, y, across, down = region
    return size, Region(x, y, across, down) if any(region) else None


def _size(name: str, width: float, height: float) -> tuple[int, int]:
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise Problem(
            HTTPStatus.BAD_REQUEST, f"{name} must ask for 1 to {_MAX_SIDE} pixels a side."
        )
    return round(width), round(height)


def _rows_and_columns(parameters: Mapping[str, str]) -> tuple[int, int] | None:
    rows, columns = parameters.get("rows", ""), parameters.get("columns", "")
    if not rows and not columns:
        return None
    height = _numbers("rows", rows)[0] if rows else _MAX_SIDE
    width = _numbers("columns", columns)[0] if columns else _MAX_SIDE
    return _size("rows and columns", width, height)


def _corners(text: str) -> Region | None:
    """Shares from the left upper corner to the right lower one (PS3.18 section 9.1.2.2.6)."""
    if not text:
        return None
    numbers = _numbers("region", text)
    if len(numbers) != 4 or not 0 <= numbers[0] < numbers[2] <= 1:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "region must be x1,y1,x2,y2 as shares of the image, 0 to 1."
        )
    x1, y1, x2, y2 = numbers
    if not 0 <= y1 < y2 <= 1:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "region must be x1,y1,x2,y2 as shares of the image, 0 to 1."
        )
    return Region(x1, y1, x2 - x1, y2 - y1, is_relative=True)


def _quality(text: str) -> int:
    if not text:
        return _QUALITY
    quality = _numbers("quality", text)[0]
    if not 1 <= quality <= 100:
        raise Problem(HTTPStatus.BAD_REQUEST, "quality must be 1 to 100.")
    return round(quality)
