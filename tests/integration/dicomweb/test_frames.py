"""Frames and bulk data by WADO-RS: correct bytes with no more reads than necessary."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest
import pytest_asyncio
from dicomweb_client import DICOMwebClient
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import FILES, of, parts_of, path_of, reads

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXPLICIT = "1.2.840.10008.1.2.1"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
BIG_ENDIAN = "emri_small_big_endian.dcm"
JPEG = "emri_small_jpeg_2k_lossless.dcm"
COMPRESSED = ["emri_small_jpeg_2k_lossless.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg_gdcm.dcm"]
GROUPS = [  # files of one SOP Instance UID in spaces of their own
    ["CT_small.dcm", "emri_small.dcm", "liver.dcm", "SC_rgb_rle_2frame.dcm", "rtplan.dcm"],
    ["emri_small_big_endian.dcm", "SC_rgb_jpeg_gdcm.dcm", "mlut_18.dcm"],
    ["emri_small_jpeg_2k_lossless.dcm"],
]
Images = dict[str, Space]
OCTETS = {"accept": "application/octet-stream"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def images(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Images]:
    """Yield the storage space of each file."""
    async with AsyncExitStack() as stack:
        contents: Images = {}
        for group in GROUPS:
            folder = tmp_path_factory.mktemp("images") / "space"
            opened = await stack.enter_async_context(space_in(folder))
            for name in group:
                await opened.store(FILES[name])
                contents[name] = opened
        yield contents


def samples_of(name: str, number: int) -> bytes:
    frame = list(iter_pixels(of(name)))[number - 1]
    little: bytes = frame.astype(frame.dtype.newbyteorder("<")).tobytes()
    return little


def all_samples_of(name: str) -> bytes:
    number = int(of(name).get("NumberOfFrames", 1))
    return b"".join(samples_of(name, each + 1) for each in range(number))


def stored_of(name: str) -> list[bytes]:
    stored = of(name)
    number = int(stored.get("NumberOfFrames", 1))
    return list(generate_frames(stored.PixelData, number_of_frames=number))


@pytest.mark.parametrize("name", ["CT_small.dcm", "emri_small.dcm", "emri_small_big_endian.dcm"])
async def test_a_native_frame_costs_one_read_of_its_length(images: Images, name: str) -> None:
    before = reads()
    answer = await images[name].client.get(f"{path_of(name)}/frames/1", headers=OCTETS)
    assert answer.content == samples_of(name, 1)
    assert answer.headers["content-length"] == str(len(answer.content))
    assert reads() - before == 1


async def test_bit_packed_frames_are_returned_from_a_byte_boundary(images: Images) -> None:
    path = f"{path_of('liver.dcm')}/frames/2"
    answer = await images["liver.dcm"].client.get(path, headers=OCTETS)
    bits = np.unpackbits(np.frombuffer(answer.content, np.uint8), bitorder="little")
    expected = list(iter_pixels(of("liver.dcm")))[1].ravel()
    assert (bits[: expected.size] == expected).all()


@pytest.mark.parametrize("name", COMPRESSED)
async def test_compressed_frames_are_returned_as_stored_by_default(
    images: Images, name: str
) -> None:
    frames = stored_of(name)
    listed = ",".join(str(each) for each in range(1, len(frames) + 1))
    before = reads()
    answer = await images[name].client.get(f"{path_of(name)}/frames/{listed}")
    parts = parts_of(answer)
    assert [content for _, content in parts] == frames
    assert f"transfer-syntax={of(name).file_meta.TransferSyntaxUID}" in parts[0][0]
    assert reads() - before == len(frames)


@pytest.mark.parametrize("name", COMPRESSED)
async def test_compressed_frames_are_decoded_when_octets_are_requested(
    images: Images, name: str
) -> None:
    answer = await images[name].client.get(f"{path_of(name)}/frames/1", headers=OCTETS)
    assert answer.status_code == 200, answer.text
    assert answer.content == samples_of(name, 1)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("image/jp2", f"image/jp2; transfer-syntax={JPEG_2000}"),
        (f"image/jp2; transfer-syntax={JPEG_2000}", f"image/jp2; transfer-syntax={JPEG_2000}"),
        ("image/jp2; transfer-syntax=*", f"image/jp2; transfer-syntax={JPEG_2000}"),
        (
            "application/octet-stream; transfer-syntax=*",
            f"application/octet-stream; transfer-syntax={JPEG_2000}",
        ),
        ("image/jls, image/*;q=0.5", f"image/jp2; transfer-syntax={JPEG_2000}"),
        ("application/octet-stream", f"application/octet-stream; transfer-syntax={EXPLICIT}"),
        (
            "image/jp2;q=0.2, application/octet-stream;q=0.9",
            f"application/octet-stream; transfer-syntax={EXPLICIT}",
        ),
    ],
)
async def test_a_frame_is_returned_in_the_requested_media_type(
    images: Images, accept: str, content_type: str
) -> None:
    path = path_of(JPEG)
    answer = await images[JPEG].client.get(f"{path}/frames/3", headers={"accept": accept})
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize("accept", ["image/jls", "image/jp2; transfer-syntax=1.2.3", "text/html"])
async def test_an_unsupported_media_type_of_a_frame_is_406_with_the_supported_ones(
    images: Images, accept: str
) -> None:
    path = path_of(JPEG)
    answer = await images[JPEG].client.get(f"{path}/frames/3", headers={"accept": accept})
    assert answer.status_code == 406
    assert "image/jp2" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["emri_small.dcm", "emri_small_jpeg_2k_lossless.dcm"])
async def test_dicomweb_client_retrieves_frames(images: Images, name: str) -> None:
    client = DICOMwebClient(images[name].base)
    stored = of(name)
    contents = await asyncio.to_thread(
        client.retrieve_instance_frames,
        str(stored.StudyInstanceUID),
        str(stored.SeriesInstanceUID),
        str(stored.SOPInstanceUID),
        [3, 1],
        media_types=(("application/octet-stream", EXPLICIT),),
    )
    assert contents == [samples_of(name, 3), samples_of(name, 1)]


@pytest.mark.parametrize(
    ("frames", "status"), [("11", 404), ("0", 404), ("1,x", 400), ("1,", 400), ("-1", 400)]
)
async def test_invalid_frame_numbers_are_refused(images: Images, frames: str, status: int) -> None:
    answer = await images["emri_small.dcm"].client.get(
        f"{path_of('emri_small.dcm')}/frames/{frames}"
    )
    assert answer.status_code == status
    assert answer.json()["detail"]


async def test_an_instance_that_is_not_an_image_has_no_frames(images: Images) -> None:
    answer = await images["rtplan.dcm"].client.get(f"{path_of('rtplan.dcm')}/frames/1")
    assert (answer.status_code, "not an image" in answer.json()["detail"]) == (404, True)


async def test_an_unchanged_frame_is_304(images: Images) -> None:
    path = f"{path_of('emri_small.dcm')}/frames/2"
    tag = (await images["emri_small.dcm"].client.get(path)).headers["etag"]
    before = reads()
    again = await images["emri_small.dcm"].client.get(path, headers={"if-none-match": tag})
    assert (again.status_code, reads()) == (304, before)


@pytest.mark.parametrize("name", ["CT_small.dcm", "mlut_18.dcm", "emri_small_big_endian.dcm"])
async def test_bulk_data_is_returned_at_the_urls_in_metadata(images: Images, name: str) -> None:
    [metadata] = (await images[name].client.get(f"{path_of(name)}/metadata")).json()
    addresses = {
        tag: each["BulkDataURI"] for tag, each in metadata.items() if "BulkDataURI" in each
    }
    assert "7FE00010" in addresses
    client = DICOMwebClient(images[name].base)
    for tag, address in addresses.items():
        value = (await images[name].client.get(address, headers=OCTETS)).content
        [by_client] = await asyncio.to_thread(client.retrieve_bulkdata, address)
        assert by_client == value
        if tag != "7FE00010":
            assert value == of(name)[tag].value
    pixels = (await images[name].client.get(addresses["7FE00010"], headers=OCTETS)).content
    assert pixels == (of(name).PixelData if name != BIG_ENDIAN else all_samples_of(name))


async def test_dicomweb_client_retrieves_bulk_data_at_the_urls_in_metadata(images: Images) -> None:
    """The client sends no port in Host, and still gets URLs that have the port."""
    name = "CT_small.dcm"
    client, pixels = DICOMwebClient(images[name].base), of(name).PixelData
    uids = (of(name).StudyInstanceUID, of(name).SeriesInstanceUID, of(name).SOPInstanceUID)

    def ask() -> tuple[str, list[list[bytes]]]:
        address = client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"]
        return address, [client.retrieve_bulkdata(address), list(client.iter_bulkdata(address))]

    address, contents = await asyncio.to_thread(ask)
    assert address.startswith(images[name].base)
    assert contents == [[pixels], [pixels]]


async def test_bulk_data_is_returned_by_byte_range(images: Images) -> None:
    for name in ("CT_small.dcm", "emri_small_big_endian.dcm"):
        path = f"{path_of(name)}/bulkdata/7FE00010"
        whole = (await images[name].client.get(path, headers=OCTETS)).content
        for begin, end in ((0, 9), (1001, 2000), (7, 7)):
            headers = {**OCTETS, "range": f"bytes={begin}-{end}"}
            answer = await images[name].client.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (206, whole[begin : end + 1])


async def test_compressed_bulk_data_is_returned_frame_by_frame(images: Images) -> None:
    name = "SC_rgb_rle_2frame.dcm"
    path = f"{path_of(name)}/bulkdata/7FE00010"
    assert [content for _, content in parts_of(await images[name].client.get(path))] == stored_of(
        name
    )
    answer = await images[name].client.get(path, headers=OCTETS)
    assert len(answer.content) == 2 * 100 * 100 * 3


@pytest.mark.parametrize("of_what", ["00100010", "7FE00010/1/00100010", "zz", "0040A730/1/2", "1"])
async def test_a_url_without_bulk_data_is_404(images: Images, of_what: str) -> None:
    answer = await images["CT_small.dcm"].client.get(
        f"{path_of('CT_small.dcm')}/bulkdata/{of_what}"
    )
    assert (answer.status_code, "see its metadata" in answer.json()["detail"]) == (404, True)
