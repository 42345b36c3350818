"""Media types of transfer syntaxes, and the choice among them for a request.

Frames and bulk data follow PS3.18 table 8.7.3-5. Whole instances follow the `transfer-syntax`
parameter of application/dicom (8.7.3.5.2): without it, and for `*`, the stored syntax is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicomweb.http.content_negotiation import MediaType, parse_media_type
from dimse_ingestion.dicomweb.http.problems import Problem

DICOM = "application/dicom"
OCTET_STREAM = "application/octet-stream"
MULTIPART = "multipart/related"
EXPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN
_ANY = ("", "*")
_BASE = "1.2.840.10008.1.2"
_COMPRESSED = {
    f"{_BASE}.5": "image/dicom-rle",
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (80, 81)), "image/jls"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (110, 111, 112)), "image/jxl"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (201, 202, 203)), "image/jphc"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in (100, 101)), "video/mpeg"),
    **dict.fromkeys((f"{_BASE}.4.{n}" for n in range(102, 109)), "video/mp4"),
}
_FRAGMENTABLE = ".1"  # suffix of a video's transfer syntax whose stream may have several fragments
_OLD_NAMES = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "video/mpeg2": "video/mpeg",
    "video/h265": "video/mp4",
}
"""Names in other editions of the standard → their current names."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """A representation of frames: media type, transfer syntax, and whether they are parts."""

    media_type: str
    transfer_syntax_uid: str
    is_multipart: bool

    @property
    def name(self) -> str:
        """Return a short name, for an entity tag."""
        return f"{self.transfer_syntax_uid}-{self.is_multipart:d}"

    @property
    def content_type(self) -> str:
        """Return the Content-Type of one frame."""
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"


def media_type_of(transfer_syntax_uid: str) -> str:
    """Return the media type of compressed frames or of a video (PS3.18 table 8.7.3-5)."""
    whole = transfer_syntax_uid.removesuffix(_FRAGMENTABLE)
    return _COMPRESSED.get(whole if is_video(whole) else transfer_syntax_uid, OCTET_STREAM)


def is_video(transfer_syntax_uid: str) -> bool:
    """Return whether all frames are one stream of bytes (PS3.5 8.2.5 to 8.2.7)."""
    kind = _COMPRESSED.get(transfer_syntax_uid.removesuffix(_FRAGMENTABLE), "")
    return kind.startswith("video/")


def is_native(transfer_syntax_uid: str) -> bool:
    """Return whether pixels are stored uncompressed, without fragments."""
    return transfer_syntax_uid in uids.IDENTIFIER_SYNTAXES


def has_samples(transfer_syntax_uid: str) -> bool:
    """Return whether frames are stored as their samples, in fragments or not."""
    return transfer_syntax_uid in uids.UNCOMPRESSED


def frame_formats(stored: str) -> list[FrameFormat]:
    """Return the formats in which a frame of an instance is available, the best first."""
    plain = [FrameFormat(OCTET_STREAM, EXPLICIT, True), FrameFormat(OCTET_STREAM, EXPLICIT, False)]
    if is_native(stored):
        return plain
    as_bytes = [FrameFormat(OCTET_STREAM, stored, True), FrameFormat(OCTET_STREAM, stored, False)]
    if has_samples(stored):
        return [*plain, *as_bytes]
    media_type = media_type_of(stored)
    plain = [] if is_video(stored) else plain
    compressed = [FrameFormat(media_type, stored, True), FrameFormat(media_type, stored, False)]
    return [*compressed, *plain, *as_bytes]


def frame_format(ranges: Sequence[MediaType], stored: str, *, several: bool = False) -> FrameFormat:
    """Return the format wanted most; the first one without Accept. Raises Problem 406.

    `several` frames are given as parts only.
    """
    forms = [form for form in frame_formats(stored) if form.is_multipart or not several]
    return choose_format(ranges, stored, forms)


def stream_format(ranges: Sequence[MediaType], stored: str) -> FrameFormat:
    """Return the format wanted most for compressed pixel data as one stream. Raises Problem 406."""
    forms = [form for form in frame_formats(stored) if form.transfer_syntax_uid == stored]
    if not is_video(stored):
        forms = [form for form in forms if form.media_type == OCTET_STREAM]
    return choose_format(ranges, stored, forms)


def choose_format(
    ranges: Sequence[MediaType], stored: str, forms: Sequence[FrameFormat]
) -> FrameFormat:
    """Return the format that is wanted most. Raises Problem 406."""
    if not ranges:
        return forms[0]
    for each in ranges:
        wanted = [form for form in forms if each.quality and _fits(each, form, stored)]
        if wanted:
            return wanted[0]
    offered = "; or ".join(dict.fromkeys(form.content_type for form in forms))
    raise Problem(
        HTTPStatus.NOT_ACCEPTABLE,
        f"Accept includes none of the media types of these frames: {offered}.",
    )


def _fits(wanted: MediaType, form: FrameFormat, stored: str) -> bool:
    name = _OLD_NAMES.get(wanted.name, wanted.name)
    parameters = wanted.parameters | {"type": _OLD_NAMES.get(wanted.part, wanted.part)}
    offer = f'{MULTIPART}; type="{form.media_type}"' if form.is_multipart else form.media_type
    if not MediaType(name, parameters).includes(parse_media_type(offer)):
        return False
    syntax = wanted.transfer_syntax
    if not syntax:  # octet-stream alone means uncompressed (PS3.18 table 8.7.3-5)
        is_stored = form.media_type != OCTET_STREAM or is_video(stored)
        return is_stored or form.transfer_syntax_uid == EXPLICIT or wanted.name == "*/*"
    if syntax == "*":  # as it is stored
        return form.transfer_syntax_uid == (EXPLICIT if is_native(stored) else stored)
    return syntax == form.transfer_syntax_uid


def wanted_syntaxes(ranges: Sequence[MediaType]) -> list[str]:
    """Return the wanted transfer syntaxes of application/dicom in order; `*` is the stored."""
    if not ranges:
        return ["*"]
    return ["*" if each.transfer_syntax in _ANY else each.transfer_syntax for each in ranges]


def offered_syntax(wanted: Sequence[str], stored: str) -> str | None:
    """Return the first wanted transfer syntax that is available for an instance, or None."""
    for each in wanted:
        if each in ("*", stored):
            return stored
        if each == EXPLICIT:
            return EXPLICIT
    return None
