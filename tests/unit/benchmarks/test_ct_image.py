"""The images and messages that the benchmarks send, read by pydicom and pynetdicom."""

from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import decode
from pynetdicom.pdu import P_DATA_TF

from benchmarks.association import StoreMessage
from benchmarks.ct_image import CtImage, Identity
from benchmarks.pictures import FILES, pixels_of


def sent(message: StoreMessage) -> tuple[Dataset, Dataset]:
    """Return the command set and the data set of a message's PDUs."""
    stream, values = b"".join(message.parts), {True: b"", False: b""}
    while stream:
        length = 6 + int.from_bytes(stream[2:6], "big")
        pdu = P_DATA_TF()
        pdu.decode(stream[:length])
        for item in pdu.presentation_data_value_items:
            value = item.presentation_data_value
            assert value is not None
            values[bool(value[0] & 1)] += value[1:]
        stream = stream[length:]
    return (
        decode(BytesIO(values[True]), True, True),
        decode(BytesIO(values[False]), False, True),
    )


@pytest.mark.parametrize("shape", [(32, 32), (512, 512)])
def test_pydicom_reads_the_images(shape: tuple[int, int]) -> None:
    image = CtImage(*shape, Identity(7, images_a_study=2))

    first, second, other = (dcmread(BytesIO(image.part10(number))) for number in range(3))

    assert first.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert len(first.PixelData) == shape[0] * shape[1] * 2
    assert len({each.SOPInstanceUID for each in (first, second, other)}) == 3
    assert first.StudyInstanceUID == second.StudyInstanceUID != other.StudyInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID


@pytest.mark.parametrize("picture", FILES)
def test_an_image_has_the_pixels_of_a_scanner(picture: str) -> None:
    image = CtImage(512, 512, Identity(7), picture)

    read = dcmread(BytesIO(image.part10(3)))

    assert read.PixelData == pixels_of(picture, 512 * 512 * 2)
    assert len(set(read.PixelData)) > 10


def test_every_hundred_studies_have_a_date_of_their_own() -> None:
    dates = [Identity(1, 1).values(number)["study_date"] for number in (0, 99, 100)]

    assert dates == ["20000101", "20000101", "20000102"]


@pytest.mark.parametrize("longest_pdu", [4096, 128 * 1024])
def test_a_message_is_a_c_store_of_the_image(longest_pdu: int) -> None:
    image = CtImage(128, 256, Identity(7))
    message = StoreMessage(image, longest_pdu)
    message.identify(41)

    command, data_set = sent(message)

    assert (command.CommandField, command.AffectedSOPClassUID) == (1, data_set.SOPClassUID)
    assert command.AffectedSOPInstanceUID == data_set.SOPInstanceUID
    assert data_set.SOPInstanceUID == Identity(7).values(41)["instance"]
    assert len(data_set.PixelData) == 128 * 256 * 2
    assert image.length == len(b"".join(image.chunks(5000)))


def test_no_pdu_is_longer_than_the_receiver_takes() -> None:
    message = StoreMessage(CtImage(128, 256), 4096)

    stream = b"".join(message.parts)
    lengths = []
    while stream:
        lengths.append(int.from_bytes(stream[2:6], "big"))
        stream = stream[6 + lengths[-1] :]

    assert max(lengths) == 4096
