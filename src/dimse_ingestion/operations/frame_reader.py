"""Single frames of an object, each read by one range request, whatever the object's size.

`dicom.frames` locates native frames, and `fragment_reader` encapsulated ones.
"""

from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from dimse_ingestion.dicom import frames, uids
from dimse_ingestion.dicom.code_streams import (
    BEGIN_LENGTH,
    END_LENGTH,
    RLE_LOSSLESS,
    begins_image,
    ends_image,
    has_markers,
    is_between_images,
)
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.fragments import ITEM_HEADER, ByteRange, EncapsulatedFrame
from dimse_ingestion.dicom.frames import FrameNotFound, ImagePixels, NativeFrame
from dimse_ingestion.dicom.presentation_state import presentation_elements
from dimse_ingestion.dicom.value_representations import little_endian
from dimse_ingestion.operations.fragment_reader import FragmentReader
from dimse_ingestion.operations.retrieve import READ_SIZE, ObjectBytes
from dimse_ingestion.queries.contract import Located

_MAX_WHOLE_READ = 4 * READ_SIZE
_BYTE = 8
_NATIVE = uids.IDENTIFIER_SYNTAXES
_UNCOMPRESSED = _NATIVE | {uids.ENCAPSULATED_UNCOMPRESSED}


@dataclass(frozen=True, slots=True)
class FrameLocation:
    """The location of a frame in an object."""

    located: Located
    pixels: ImagePixels
    number: int
    place: NativeFrame | EncapsulatedFrame

    @property
    def length(self) -> int:
        """Return the number of bytes that the frame is returned with."""
        if isinstance(self.place, NativeFrame):
            return -(-self.place.bits // _BYTE)
        return self.pixels.native_bytes if self.has_samples else sum(self.place.fragments)

    @property
    def has_samples(self) -> bool:
        """Tell whether its bytes are uncompressed samples, in fragments or not."""
        return self.located.transfer_syntax_uid in _UNCOMPRESSED


class FrameReader:
    """Reads frames of the instances of one storage space."""

    def __init__(self, objects: ObjectBytes) -> None:
        self._objects = objects
        self._fragments = FragmentReader(objects)

    async def locate(self, located: Located, numbers: Sequence[int]) -> list[FrameLocation]:
        """Return the locations of frames by their numbers from 1.

        Raises FrameNotFound when there is no such frame, ObjectMissing, and as the bucket does.
        """
        pixels = frames.image_pixels(located.elements)
        for number in numbers:
            pixels.check_number(number)
        if _is_native(located, pixels):
            pixels = frames.native_pixels(pixels)
            native = [frames.native_frame(pixels, number) for number in numbers]
            pairs = zip(numbers, native, strict=True)
            return [FrameLocation(located, pixels, number, place) for number, place in pairs]
        locations = await self._fragments.frames(located, pixels, numbers)
        return [
            _encapsulated_location(located, pixels, number, place)
            for number, place in zip(numbers, locations, strict=True)
        ]

    async def locate_all(self, located: Located) -> list[FrameLocation]:
        """Return the locations of all frames; raises as `locate`."""
        pixels = frames.image_pixels(located.elements)
        if _is_native(located, pixels):
            await self.locate(located, [pixels.number_of_frames])
        else:
            await self._fragments.index(located, pixels)
        return await self.locate(located, range(1, pixels.number_of_frames + 1))

    async def chunks(self, place: FrameLocation) -> AsyncGenerator[bytes, None]:
        """Yield a frame's bytes, with one read where it is small, else in pieces."""
        if place.length <= _MAX_WHOLE_READ or _must_be_read_whole(place):
            yield await self.read_frame(place)
            return
        if isinstance(place.place, EncapsulatedFrame):
            await self._check_long_frame(place, place.place)
        offset, end = place.place.offset, b""
        fragments = getattr(place.place, "fragments", (place.place.length,))
        for number, length in enumerate(fragments):
            pieces = self._objects.data_set_range(place.located, offset, length)
            is_seam = number > 0
            async with aclosing(pieces):
                async for piece in pieces:
                    if is_seam and is_between_images(end, piece, place.located.transfer_syntax_uid):
                        raise _several_images(place)
                    is_seam = False
                    end = (end + piece[-END_LENGTH:])[-END_LENGTH:]
                    yield _little_endian(place, piece)
            offset += length + ITEM_HEADER

    async def fragments(self, located: Located) -> list[ByteRange]:
        """Return the locations of all fragments, whatever their frames; raises FrameNotFound."""
        pixels = frames.image_pixels(located.elements)
        index = await self._fragments.index(located, replace(pixels, number_of_frames=1))
        return index.whole()

    async def read_fragments(
        self, located: Located, fragments: Sequence[ByteRange], offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes from `offset` of the concatenated fragments, without headers."""
        end, begin = offset + length, 0
        for at, size in fragments:
            first, last = max(offset - begin, 0), min(end - begin, size)
            begin += size
            if first < last:
                pieces = self._objects.data_set_range(located, at + first, last - first)
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece

    async def read_frame(self, place: FrameLocation) -> bytes:
        """Return a frame's bytes; raises FrameNotFound where they are not one frame."""
        frame_place = place.place
        if isinstance(frame_place, EncapsulatedFrame):
            return await self._read_encapsulated(place, frame_place)
        if not _has_bytes_in_words(place):
            read = await self._fragments.data_set(
                place.located, frame_place.offset, frame_place.length
            )
            return frame_place.frame(_little_endian(place, read))[: place.length]
        odd = (frame_place.offset - place.pixels.bulk.offset) % 2
        words = -(-(odd + frame_place.length) // 2) * 2
        read = await self._fragments.data_set(place.located, frame_place.offset - odd, words)
        return frame_place.frame(_little_endian(place, read)[odd : odd + frame_place.length])

    async def _read_encapsulated(self, place: FrameLocation, fragments: EncapsulatedFrame) -> bytes:
        more = _length_until_next_image(place, fragments)
        read = await self._fragments.data_set(
            place.located, fragments.offset, fragments.length + more
        )
        frame = _little_endian(place, fragments.frame(read[: fragments.length]))
        syntax = place.located.transfer_syntax_uid
        if any(is_between_images(frame[:at], frame[at:], syntax) for at in fragments.seams()):
            raise _several_images(place)
        after = read[fragments.length + ITEM_HEADER :]
        await self._check_markers(place, frame, is_cut=more > 0 and not begins_image(after, syntax))
        return frame[: place.length]

    async def _check_long_frame(self, place: FrameLocation, fragments: EncapsulatedFrame) -> None:
        """Raise FrameNotFound as `read_frame` does, but read only the frame's begin and end."""
        length = min(END_LENGTH, fragments.fragments[-1])
        more = _length_until_next_image(place, fragments)
        end_offset = fragments.offset + fragments.length - length
        begin = await self._fragments.data_set(place.located, fragments.offset, BEGIN_LENGTH)
        end = await self._fragments.data_set(place.located, end_offset, length + more)
        after = end[length + ITEM_HEADER :]
        is_cut = more > 0 and not begins_image(after, place.located.transfer_syntax_uid)
        await self._check_markers(place, begin + end[:length], is_cut=is_cut)

    async def _check_markers(self, place: FrameLocation, frame: bytes, *, is_cut: bool) -> None:
        """Raise FrameNotFound where a fragment taken for a frame begins or ends within an image."""
        syntax = place.located.transfer_syntax_uid
        if syntax != RLE_LOSSLESS and not has_markers(syntax):
            return
        is_image = begins_image(frame[:BEGIN_LENGTH], syntax)
        ends = syntax == RLE_LOSSLESS or ends_image(frame[-END_LENGTH:])
        if is_cut or not is_image or not ends:
            await self._fragments.check_plain(place.located, place.pixels)

    async def presentation_attributes(self, located: Located, number: int) -> list[Element]:
        """Return the elements that a frame is displayed with, their values in little endian.

        Long values, as of lookup tables, are read from the object.
        """
        return await self._resolve(located, presentation_elements(located.elements, number))

    async def _resolve(self, located: Located, elements: Iterable[Element]) -> list[Element]:
        return [await self._resolve_element(located, each) for each in elements]

    async def _resolve_element(self, located: Located, each: Element) -> Element:
        if each.items is not None:
            items = [await self._resolve(located, item) for item in each.items]
            return Element(each.group, each.element, each.vr, items=items)
        if each.bulk is None:
            return each
        value = b"".join([piece async for piece in self._objects.value(located, each)])
        # OW, because the length field of US has only 16 bits
        return Element(each.group, each.element, "OW", inline_binary=b64encode(value).decode())


def _is_native(located: Located, pixels: ImagePixels) -> bool:
    """Tell whether the pixel data is native; fragments may occur in a native transfer syntax."""
    return located.transfer_syntax_uid in _NATIVE and pixels.bulk.fragments is None


def _encapsulated_location(
    located: Located, pixels: ImagePixels, number: int, place: EncapsulatedFrame
) -> FrameLocation:
    """Return the location of a frame in fragments.

    Raises FrameNotFound for an empty frame, and for uncompressed samples shorter than a frame.
    """
    if not any(place.fragments):
        raise FrameNotFound(f"Frame {number} is empty: the pixel data has no bytes for it.")
    location = FrameLocation(located, pixels, number, place)
    if not location.has_samples:
        return location
    stored = BulkReference(place.offset, sum(place.fragments))
    single_frame = frames.native_pixels(replace(pixels, bulk=stored, number_of_frames=1))
    whole = replace(single_frame, bulk=pixels.bulk, number_of_frames=pixels.number_of_frames)
    return FrameLocation(located, whole, number, place)


def _length_until_next_image(place: FrameLocation, fragments: EncapsulatedFrame) -> int:
    """Return how many bytes to read beyond a frame to see whether another image begins there.

    RLE has no marker at an image's end; of other frames, the marker is compared.
    """
    is_last = place.number == place.pixels.number_of_frames
    if place.located.transfer_syntax_uid != RLE_LOSSLESS or is_last:
        return 0
    bulk = place.pixels.bulk
    left = bulk.offset + bulk.length - fragments.offset - fragments.length
    return max(0, min(ITEM_HEADER + BEGIN_LENGTH, left))


def _several_images(place: FrameLocation) -> FrameNotFound:
    return FrameNotFound(
        f"Frame {place.number} would contain several images: the pixel data has more images than "
        "Number of Frames. Retrieve the instance or its bulk data as a whole."
    )


def _must_be_read_whole(place: FrameLocation) -> bool:
    if not isinstance(place.place, NativeFrame):
        return place.has_samples
    return bool(place.place.shift or place.place.bits % _BYTE) or _has_bytes_in_words(place)


def _has_bytes_in_words(place: FrameLocation) -> bool:
    """Tell whether 8-bit samples are in big endian words: a frame may begin within a word."""
    big = place.located.transfer_syntax_uid == uids.EXPLICIT_VR_BIG_ENDIAN
    return big and place.pixels.vr == "OW" and place.pixels.bits_allocated <= _BYTE


def _little_endian(place: FrameLocation, piece: bytes) -> bytes:
    """Return bytes in little endian, as frames are returned (PS3.18 8.7.3.2)."""
    if place.located.transfer_syntax_uid != uids.EXPLICIT_VR_BIG_ENDIAN:
        return piece
    return little_endian(piece, place.pixels.word_vr)
