"""Pixels decoded, pictured and transcoded: what runs in the processes of `rendering`.

The only module that imports pixel libraries, and it is imported in those processes alone: a codec
that crashes, loops or eats memory ends one of them. Every function takes and gives bytes or paths.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from dimse_ingestion.dicom.code_streams import NoSize, claimed_size
from dimse_ingestion.dicom.value_representations import little_endian
from dimse_ingestion.dicomweb.views import Job, View, Window

Pixels = NDArray[Any]
_EIGHT_BITS = 255
_COLOURED = 3  # dimensions: rows, columns, samples
_MOST_TILES = 16_384  # a decoder needs kilobytes for each, whatever its size


class Undecodable(ValueError):
    """Pixels that can't be decoded; the sentence says why, without a value of them."""


def decoded(job: Job) -> bytes:
    """A frame's samples in little endian, as explicit VR little endian holds them.

    Of colours, planes are kept apart where the instance says so.
    """
    pixels = _pixels(job)
    if pixels.ndim == _COLOURED and _data_set(job).get("PlanarConfiguration") == 1:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def pictured(job: Job, view: View) -> bytes:
    """A frame as it is looked at, as PNG or JPEG."""
    pixels = _pixels(job)
    shown = _colours(pixels, job) if pixels.ndim == _COLOURED else _greys(pixels, job, view.window)
    image = _fitted(_cropped(Image.fromarray(shown), view), view)
    target = BytesIO()
    if view.media_type == "image/png":
        image.save(target, "PNG", compress_level=3)
    else:
        image.save(target, "JPEG", quality=view.quality)
    return target.getvalue()


def transcoded(source: Path, target: Path) -> None:
    """A Part-10 file written as explicit VR little endian, its pixels decompressed."""
    data_set: Dataset = dcmread(source)
    syntax = data_set.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        number = int(data_set.get("NumberOfFrames", 1) or 1)
        for frame in generate_frames(data_set.PixelData, number_of_frames=number):
            check_size(frame, data_set)
        data_set.decompress(as_rgb=True, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        data_set = _little_endian(data_set)
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for _ in data_set.iterall():
        pass  # read every element: one that is copied raw keeps a VR that may be missing
    data_set.save_as(target, implicit_vr=False, little_endian=True, enforce_file_format=True)


def _little_endian(data_set: Dataset) -> Dataset:
    """The same data set, with values of words as little endian has them."""
    words = {16: "OW", 32: "OL", 64: "OV"}
    for each in data_set.iterall():
        if each.VR in ("OW", "OF", "OL", "OD", "OV") and isinstance(each.value, bytes):
            is_pixel_data = each.keyword == "PixelData"
            bits = data_set.get("BitsAllocated", 0) if is_pixel_data else 0
            each.value = little_endian(each.value, words.get(bits, each.VR))
    fresh = Dataset(data_set)
    fresh.file_meta = data_set.file_meta
    fresh.set_original_encoding(
        is_implicit_vr=False,
        is_little_endian=True,
        character_encoding=data_set.original_character_set,
    )
    return fresh


def _pixels(job: Job) -> Pixels:
    """The samples of the job's frame, YBR made RGB."""
    data_set = _data_set(job)
    if not data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        return pixel_array(data_set)
    if not _has_decoder(job.transfer_syntax_uid):
        raise Undecodable("Its transfer syntax can't be decoded here.")
    check_size(job.frame, data_set)
    return pixel_array(data_set)


def _has_decoder(transfer_syntax_uid: str) -> bool:
    try:
        return bool(get_decoder(transfer_syntax_uid).is_available)
    except NotImplementedError:
        return False


def _data_set(job: Job) -> Dataset:
    """An image of one frame."""
    data_set = read_dataset(BytesIO(job.presentation), is_implicit_VR=False, is_little_endian=True)
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = UID(job.transfer_syntax_uid)
    data_set.NumberOfFrames = 1
    data_set.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    frame = encapsulate([job.frame], has_bot=False) if job.is_encapsulated else job.frame
    data_set.add_new(job.keyword, "OW", frame + b"\0" * (len(frame) % 2))
    data_set[job.keyword].is_undefined_length = job.is_encapsulated
    return data_set


def check_size(frame: bytes, data_set: Dataset) -> None:
    """Raise Undecodable where the compressed image is larger than the instance says.

    A decoder allocates what the code stream claims before it finds that there is less.
    """
    try:
        size = claimed_size(frame, data_set.file_meta.TransferSyntaxUID)
    except NoSize as none:
        raise Undecodable(str(none)) from None
    if size is None:
        return
    expected = data_set.Rows * data_set.Columns * data_set.get("SamplesPerPixel", 1)
    if size.samples > expected:
        raise Undecodable("The compressed image is larger than the instance says.")
    if size.tiles > _MOST_TILES:
        raise Undecodable(f"The compressed image has more than {_MOST_TILES} tiles.")


def _greys(pixels: Pixels, job: Job, window: Window | None) -> Pixels:
    """One sample a pixel as eight bits of grey, or of colour by a palette."""
    data_set = _data_set(job)
    if data_set.get("PhotometricInterpretation") == "PALETTE COLOR":
        return _eight_bits(apply_color_lut(pixels, data_set), 16)
    values = apply_modality_lut(_stored_bits(pixels, data_set), data_set)
    shares = _windowed(values.astype(np.float64), data_set, window)
    if _is_inverse(data_set):
        shares = 1.0 - shares
    return (shares * _EIGHT_BITS + 0.5).astype(np.uint8)


def _stored_bits(pixels: Pixels, data_set: Dataset) -> Pixels:
    """Without what else stands in the cells, as overlays once did (PS3.5 8.1.2)."""
    unused = data_set.get("BitsAllocated", 16) - data_set.get("BitsStored", 16)
    if pixels.dtype.kind not in "iu" or not 0 < unused < pixels.dtype.itemsize * 8:
        return pixels
    spare = pixels.dtype.itemsize * 8 - data_set.BitsStored
    shifted: Pixels = (pixels << spare) >> spare
    return shifted


def _is_inverse(data_set: Dataset) -> bool:
    shape = data_set.get("PresentationLUTShape", "")
    return data_set.get("PhotometricInterpretation") == "MONOCHROME1" or bool(shape == "INVERSE")


def _windowed(values: Pixels, data_set: Dataset, window: Window | None) -> Pixels:
    """0 for black to 1 for white: by the window asked, the instance's, or its least and most."""
    if window is None and data_set.get("VOILUTSequence"):
        return _by_table(values, data_set)
    window = window or _own_window(data_set)
    if window is not None:
        return _by_window(values, window)
    finite = values[np.isfinite(values)]
    least, most = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    return np.clip(np.nan_to_num(values - least) / ((most - least) or 1.0), 0.0, 1.0)


def _by_table(values: Pixels, data_set: Dataset) -> Pixels:
    """By the first VOI LUT (PS3.3 C.11.2.1.1)."""
    bits = data_set.VOILUTSequence[0].LUTDescriptor[2]
    looked_up: Pixels = apply_voi(values.astype(np.int64), data_set)
    return np.clip(looked_up / float(2**bits - 1), 0.0, 1.0)


def _own_window(data_set: Dataset) -> Window | None:
    centers, widths = data_set.get("WindowCenter"), data_set.get("WindowWidth")
    if centers in (None, "") or widths in (None, ""):
        return None
    function = str(data_set.get("VOILUTFunction", "LINEAR") or "LINEAR")
    width = float(np.atleast_1d(widths)[0])
    if width < 1:
        return None
    return Window(float(np.atleast_1d(centers)[0]), width, function.lower().replace("_", "-"))


def _by_window(values: Pixels, window: Window) -> Pixels:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = window.center, window.width
    if window.function == "sigmoid":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if window.function == "linear-exact":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    return np.clip((values - (center - 0.5)) / max(width - 1.0, 1e-6) + 0.5, 0.0, 1.0)


def _colours(pixels: Pixels, job: Job) -> Pixels:
    """Three samples a pixel as eight bits each."""
    return _eight_bits(pixels[..., :3], _data_set(job).get("BitsStored", 8))


def _eight_bits(pixels: Pixels, stored: int) -> Pixels:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind == "f":
        return (np.clip(pixels, 0.0, 1.0) * _EIGHT_BITS).astype(np.uint8)
    return np.ascontiguousarray((pixels >> max(0, stored - 8)).astype(np.uint8))


def _cropped(image: Image.Image, view: View) -> Image.Image:
    """The region asked; a negative width or height mirrors it (PS3.18 8.3.5.1.3)."""
    if view.region is None:
        return image
    x, y, width, height = view.region.within(image.width, image.height)
    image = image.crop((x, y, x + abs(width), y + abs(height)))
    if width < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if height < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _fitted(image: Image.Image, view: View) -> Image.Image:
    """Scaled to fit, its aspect kept; a thumbnail is never made larger than the image."""
    if view.size is None:
        return image
    scale = min(view.size[0] / image.width, view.size[1] / image.height)
    if view.is_thumbnail:
        scale = min(scale, 1.0)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
