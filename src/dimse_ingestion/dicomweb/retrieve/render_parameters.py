"""Rendering parameters (PS3.18 section 8.3.5): window, region, size and quality of an image.

They are parsed from query parameters of WADO-RS and WADO-URI; `pixels.decoder` applies them.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus

from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.pixels.jobs import QUALITY, Region, RenderParameters, Window

_MAX_SIDE = 8192
_THUMBNAIL_QUALITY = 75
_THUMBNAIL_SIDE = 200
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")


def rendered_parameters(parameters: Mapping[str, str], media_type: str) -> RenderParameters:
    """Return the parameters of a rendered resource; raises Problem 400."""
    size, region = _viewport(parameters.get("viewport", ""))
    return RenderParameters(
        media_type=media_type,
        quality=_quality(parameters.get("quality", "")),
        window=_window(parameters.get("window", "")),
        region=region,
        size=size,
    )


def thumbnail_parameters(parameters: Mapping[str, str], media_type: str) -> RenderParameters:
    """Return the parameters of a thumbnail, 200 pixels unless `viewport` is set; Problem 400."""
    size, region = _viewport(parameters.get("viewport", ""))
    size = size or (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE)
    return RenderParameters(media_type, _THUMBNAIL_QUALITY, None, region, size, is_thumbnail=True)


def wado_uri_parameters(parameters: Mapping[str, str], media_type: str) -> RenderParameters:
    """Return the parameters of a WADO-URI request (PS3.18 section 9.1.2.2); raises Problem 400."""
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
    """Return the given parameters that are not supported, for a warning."""
    return [name for name in ("annotation", "iccprofile") if parameters.get(name)]


def _numbers(name: str, text: str) -> list[float]:
    """Return numbers separated by commas; an empty one is 0."""
    try:
        numbers = [float(each) if each.strip() else 0.0 for each in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise Problem(HTTPStatus.BAD_REQUEST, f"{name} must be numbers separated by commas.")
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
    """Return the maximum size and the part of the image (PS3.18 8.3.5.1.3)."""
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
            HTTPStatus.BAD_REQUEST, f"{name} must ask for 1 to {_MAX_SIDE} pixels per side."
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
    """Return a region of fractions, from upper left to lower right (PS3.18 section 9.1.2.2.6)."""
    if not text:
        return None
    numbers = _numbers("region", text)
    if len(numbers) != 4 or not 0 <= numbers[0] < numbers[2] <= 1:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "region must be x1,y1,x2,y2 as fractions of the image, 0 to 1."
        )
    x1, y1, x2, y2 = numbers
    if not 0 <= y1 < y2 <= 1:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "region must be x1,y1,x2,y2 as fractions of the image, 0 to 1."
        )
    return Region(x1, y1, x2 - x1, y2 - y1, is_relative=True)


def _quality(text: str) -> int:
    if not text:
        return QUALITY
    quality = _numbers("quality", text)[0]
    if not 1 <= quality <= 100:
        raise Problem(HTTPStatus.BAD_REQUEST, "quality must be 1 to 100.")
    return round(quality)
