"""Frames rendered as JPEG or PNG: mapped to eight bits, cropped, scaled, encoded.

`decoder` does this with decoded frames, in a process. A small grey frame that is stored without
compression needs no codec that could crash, loop or use too much memory: `render_stored_greys` is
for a thread of the service, because a process costs more time than the rendering.
"""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from dimse_ingestion.pixels.display import colour_pixels, grey_pixels
from dimse_ingestion.pixels.image_data_set import shared_image_data_set
from dimse_ingestion.pixels.jobs import PNG, DecodeJob, RenderParameters

Pixels = NDArray[Any]
COLOUR_DIMENSIONS = 3
"""The dimensions of colours: rows, columns, samples."""
_WHOLE_SAMPLES = (8, 16, 32)  # bits allocated


def render_stored_greys(job: DecodeJob, parameters: RenderParameters) -> bytes | None:
    """Return a frame of whole grey samples as PNG or JPEG, None for another frame."""
    data_set = shared_image_data_set(job)
    pixels = stored_greys(job, data_set)
    return None if pixels is None else encode_image(pixels, data_set, parameters)


def stored_greys(job: DecodeJob, data_set: Dataset) -> Pixels | None:
    """Return a frame of whole grey samples as it is stored, None for another frame.

    They need no decoder: pydicom's work for such a frame costs as much as showing it. `display`
    removes unused bits.
    """
    allocated = data_set.BitsAllocated
    is_grey = data_set.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2")
    count = data_set.Rows * data_set.Columns
    if (
        job.is_encapsulated
        or job.keyword != "PixelData"
        or not is_grey
        or data_set.SamplesPerPixel != 1
        or allocated not in _WHOLE_SAMPLES
        or not 0 < count * allocated <= len(job.frame) * 8
    ):
        return None
    sign = "i" if data_set.PixelRepresentation else "u"
    dtype = np.dtype(f"<{sign}{allocated // 8}")
    return np.frombuffer(job.frame, dtype, count).reshape(data_set.Rows, data_set.Columns)


def encode_image(pixels: Pixels, data_set: Dataset, parameters: RenderParameters) -> bytes:
    """Return samples as PNG or JPEG, as they are displayed."""
    is_coloured = pixels.ndim == COLOUR_DIMENSIONS
    display_pixels = (
        colour_pixels(pixels, data_set)
        if is_coloured
        else grey_pixels(pixels, data_set, parameters.window)
    )
    image = _fit(_crop(Image.fromarray(display_pixels), parameters), parameters)
    target = BytesIO()
    if parameters.media_type == PNG:
        image.save(target, "PNG", compress_level=3)
    else:
        image.save(target, "JPEG", quality=parameters.quality)
    return target.getvalue()


def _crop(image: Image.Image, parameters: RenderParameters) -> Image.Image:
    """Return the requested region; a negative width or height mirrors it (PS3.18 8.3.5.1.3)."""
    if parameters.region is None:
        return image
    x, y, width, height = parameters.region.within(image.width, image.height)
    image = image.crop((x, y, x + abs(width), y + abs(height)))
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _fit(image: Image.Image, parameters: RenderParameters) -> Image.Image:
    """Scale an image to fit, with its aspect ratio; a thumbnail is never larger than the image."""
    if parameters.size is None:
        return image
    scale = min(parameters.size[0] / image.width, parameters.size[1] / image.height)
    if parameters.is_thumbnail:
        scale = min(scale, 1.0)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
