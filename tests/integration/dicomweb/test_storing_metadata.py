"""STOW-RS of metadata and bulk data: retrieved metadata and bulk data can be stored unchanged."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from prometheus_client import REGISTRY
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.uid import generate_uid

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import FILES, parts_of, path_of

JSON, XML = "application/dicom+json", "application/dicom+xml"
Parts = list[tuple[dict[str, str], bytes]]
UIDS = ("00080018", "0020000D", "0020000E")
LOCATION = "Content-Location"


def related(parts: Parts) -> bytes:
    heads = ("".join(f"{name}: {value}\r\n" for name, value in head.items()) for head, _ in parts)
    bodies = (content for _, content in parts)
    model = (
        b"--frontier\r\n" + head.encode() + b"\r\n" + body + b"\r\n"
        for head, body in zip(heads, bodies, strict=True)
    )
    return b"".join(model) + b"--frontier--\r\n"


async def post(space: Space, parts: Parts, kind: str = JSON) -> httpx2.Response:
    content_type = f'multipart/related; type="{kind}"; boundary=frontier'
    return await space.client.post(
        "/studies", content=related(parts), headers={"content-type": content_type}
    )


def metadata(*data_sets: object) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": JSON}, json.dumps(data_sets).encode()


@cache
def ct_metadata() -> dict[str, Any]:
    """Return the metadata of CT_small with a matrix of 2 by 3; read once, as pydicom is slow."""
    model = dcmread(str(get_testdata_file("CT_small.dcm", download=False)), stop_before_pixels=True)
    model.Rows, model.Columns = 2, 3
    return model.to_json_dict()


def image(**more: Any) -> dict[str, Any]:
    """Return the metadata of CT_small with other pixels, and what else is given by tag."""
    pixels = {"7FE00010": {"vr": "OW", "BulkDataURI": "pixels"}}
    return ct_metadata() | pixels | {tag.strip("_"): value for tag, value in more.items()}


def pixels(content: bytes, kind: str = "application/octet-stream") -> tuple[dict[str, str], bytes]:
    return {"Content-Type": kind, LOCATION: "pixels"}, content


def reason(response: httpx2.Response) -> int:
    (failed,) = Dataset.from_json(response.json()).FailedSOPSequence
    return int(failed.FailureReason)


async def stored(space: Space, response: httpx2.Response) -> Dataset:
    """Return the only instance a request stored, retrieved."""
    assert response.status_code == 200, response.text
    (referenced,) = Dataset.from_json(response.json()).ReferencedSOPSequence
    answer = await space.client.get(
        referenced.RetrieveURL, headers={"accept": "application/dicom; transfer-syntax=*"}
    )
    return dcmread(DicomBytesIO(answer.content))


def bulk_addresses(data_set: dict[str, Any]) -> Iterator[str]:
    for attribute in data_set.values():
        if "BulkDataURI" in attribute:
            yield attribute["BulkDataURI"]
        if attribute["vr"] == "SQ":
            for item in attribute.get("Value", []):
                yield from bulk_addresses(item)


async def bulk_parts(space: Space, addresses: set[str]) -> Parts:
    """Return the stored bytes at the URLs."""
    found: Parts = []
    for address in addresses:
        anything = 'multipart/related; type="*/*"; transfer-syntax=*'
        answer = await space.client.get(address, headers={"accept": anything})
        assert answer.status_code == 200, answer.text
        for content_type, content in parts_of(answer):
            found.append(({"Content-Type": content_type, LOCATION: address}, content))
    return found


def plain(data_set: Dataset) -> Dataset:
    """Return what must be the same, whatever the encoding: all but UIDs, pixels, padding, lengths.

    pydicom leaves the bytes of OW as they are in the file; here they are little endian.
    """
    big_endian = not data_set.file_meta.TransferSyntaxUID.is_little_endian
    for keyword in ("SpecificCharacterSet", "PixelData", *UIDS):
        data_set.pop(keyword, None)
    for tag in [each.tag for each in data_set if not each.tag.element or each.tag == 0xFFFCFFFC]:
        del data_set[tag]
    for each in data_set:
        if each.VR == "CS" and each.VM > 1:
            each.value = [text.rstrip() for text in each.value]
        if big_endian and each.VR == "OW":
            each.value = np.frombuffer(each.value, ">u2").astype("<u2").tobytes()
    return data_set


def frames(data_set: Dataset) -> list[bytes]:
    """Return the frames as they are stored, without padding; native ones in little endian."""
    if "PixelData" not in data_set:
        return []
    syntax = data_set.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        number = int(data_set.get("NumberOfFrames", 1) or 1)
        return [
            each.rstrip(b"\0")
            for each in generate_frames(data_set.PixelData, number_of_frames=number)
        ]
    if syntax.is_little_endian or data_set["PixelData"].VR == "OB":
        return [data_set.PixelData.rstrip(b"\0")]
    word = max(2, data_set.BitsAllocated // 8)  # of OW, whose bytes are the other way round
    pairs = np.frombuffer(data_set.PixelData, f">u{word}").astype(f"<u{word}")
    return [pairs.tobytes().rstrip(b"\0")]


async def round_trip(space: Space, name: str) -> tuple[Dataset, Dataset]:
    """Return an instance as it was, and as it is after metadata and bulk data of it were stored."""
    await space.store(FILES[name])
    (model,) = (await space.client.get(f"{path_of(name)}/metadata")).json()
    parts = await bulk_parts(space, set(bulk_addresses(model)))
    for tag in UIDS:
        model[tag]["Value"] = [generate_uid()]
    again = await stored(space, await post(space, [metadata(model), *parts]))
    assert again.SOPInstanceUID == model["00080018"]["Value"][0]
    return dcmread(FILES[name]), again


async def test_retrieved_metadata_and_bulk_data_are_stored_unchanged(
    space: Space,
) -> None:
    others = []
    for name in sorted(FILES):
        before, after = await round_trip(space, name)
        if frames(before) != frames(after) or plain(before) != plain(after):
            others.append(name)
    assert not others


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "reportsi.dcm"])
async def test_xml_is_stored_like_json(space: Space, name: str) -> None:
    await space.store(FILES[name])
    accept = {"accept": f'multipart/related; type="{XML}"'}
    path = f"{path_of(name)}/metadata"
    ((_, document),) = parts_of(await space.client.get(path, headers=accept))
    (model,) = (await space.client.get(path)).json()
    parts = await bulk_parts(space, set(bulk_addresses(model)))
    own = f">{model['00080018']['Value'][0]}<".encode()
    document = document.replace(own, f">{generate_uid()}<".encode())
    again = await stored(space, await post(space, [({"Content-Type": XML}, document), *parts], XML))
    before = dcmread(FILES[name])
    assert (frames(again), plain(again)) == (frames(before), plain(before))


async def test_pixels_may_come_before_or_after_the_metadata(space: Space) -> None:
    after = await stored(space, await post(space, [metadata(image()), pixels(b"twelve bytes")]))
    before = await stored(space, await post(space, [pixels(b"twelve bytes"), metadata(image())]))
    assert after.PixelData == before.PixelData == b"twelve bytes"
    assert after.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


async def test_short_values_come_inline_and_odd_ones_are_padded(space: Space) -> None:
    model = image(_7FE00010={"vr": "OB", "InlineBinary": "b2RkIQ=="}) | {
        "00990101": {"vr": "UN", "BulkDataURI": "cid:odd"}
    }
    odd = ({"Content-Type": "application/octet-stream", "Content-ID": "<odd>"}, b"odd")
    again = await stored(space, await post(space, [metadata(model), odd]))
    assert (again.PixelData, again[0x00990101].value) == (b"odd!", b"odd\0")


async def test_each_compressed_frame_is_a_part_and_a_fragment(space: Space) -> None:
    model = image(_00280008={"vr": "IS", "Value": [2]})
    kind = "image/jls; transfer-syntax=1.2.840.10008.1.2.4.81"
    parts = [metadata(model), pixels(b"one!", kind), pixels(b"another", kind)]
    again = await stored(space, await post(space, parts))
    assert again.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.81"
    assert frames(again) == [b"one!", b"another"]
    short = await post(space, parts[:2])
    assert (short.status_code, reason(short)) == (409, 0xC000)


@pytest.mark.parametrize(
    "kind",
    [
        "image/jpeg",
        "image/png",
        "image/jphc",
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.2",
    ],
)
async def test_pixels_of_an_unclear_transfer_syntax_are_refused(space: Space, kind: str) -> None:
    response = await post(space, [metadata(image()), pixels(b"no picture", kind)])
    assert (response.status_code, reason(response)) == (409, 0xC122)
    assert "transfer-syntax" in response.headers["warning"]


async def test_missing_bulk_data_fails_its_own_instance_only(space: Space) -> None:
    lost = image(_00080018={"vr": "UI", "Value": ["1.2.3"]}) | {
        "00990101": {"vr": "OB", "BulkDataURI": "lost"}
    }
    response = await post(space, [metadata(lost, image()), pixels(b"twelve bytes")])
    assert (response.status_code, reason(response)) == (202, 0xC000)
    assert "00990101" in response.headers["warning"]


async def test_only_uids_are_required(space: Space) -> None:
    bare = {tag: image()[tag] for tag in ("00080016", *UIDS)}
    assert (await post(space, [metadata(bare)])).status_code == 200
    for tag in UIDS:
        without = {each: value for each, value in bare.items() if each != tag}
        assert (await post(space, [metadata(without)])).status_code == 409


@pytest.mark.parametrize(
    ("parts", "status", "reason"),
    [
        ([({"Content-Type": JSON}, b"[{")], 400, "is not application/dicom+json"),
        ([({"Content-Type": JSON}, b"[NaN]")], 400, "is not application/dicom+json"),
        ([({"Content-Type": JSON}, b"[" * 100_000)], 400, "is not application/dicom+json"),
        ([({"Content-Type": JSON}, b"\xff")], 400, "UTF-8"),
        (
            [({"Content-Type": JSON}, b"[" + b"9" * 5000 + b"]")],
            400,
            "is not application/dicom+json",
        ),
        ([({"Content-Type": JSON}, b" [ ] ")], 400, "no instance"),
        ([({"Content-Type": XML}, b"<NativeDicomModel>")], 400, "is not application/dicom+xml"),
        ([({"Content-Type": XML}, b"")], 400, "is not application/dicom+xml"),
        ([metadata(image()), ({LOCATION: "http://[::1"}, b"")], 400, "Content-Location"),
        ([pixels(b"alone")], 400, "No part of the request is"),
        ([({"Content-Type": JSON}, b" " * (32 * 2**20 + 1))], 413, "bulk data"),
    ],
    ids=[
        *("cut", "constant", "deep", "charset", "huge number", "no instance"),
        *("XML cut", "XML empty", "no address", "none", "long"),
    ],
)
async def test_malformed_metadata_is_refused(
    space: Space, parts: Parts, status: int, reason: str
) -> None:
    response = await post(space, parts)
    assert response.status_code == status
    assert reason in response.json()["detail"]


@pytest.mark.parametrize(
    "model",
    [
        [1],
        {"0": {}},
        {"00080018": {"vr": "XX"}},
        {"00080018": {"vr": []}},
        {"00189306": {"vr": "FD", "Value": [10**400]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "\ud800"}]}},
    ],
)
async def test_a_malformed_instance_fails_alone(space: Space, model: object) -> None:
    response = await post(space, [metadata(model, image()), pixels(b"twelve bytes")])
    assert response.status_code == 202
    (other,) = Dataset.from_json(response.json()).OtherFailuresSequence
    assert other.FailureReason == 0xC000


async def test_a_malformed_bulk_data_uri_is_refused(space: Space) -> None:
    model = image() | {"00990101": {"vr": "OB", "BulkDataURI": "http://[::1"}}
    response = await post(space, [metadata(model)])
    assert response.status_code == 409
    assert "BulkDataURI of 00990101 is not a URL" in response.headers["warning"]


async def test_omitted_elements_are_a_warning_of_their_instance(space: Space) -> None:
    offsets = {"7FE00001": {"vr": "OV", "InlineBinary": "AAAAAAAAAAA="}}
    lengths = {"00080000": {"vr": "UL", "Value": [1]}, "00020010": {"vr": "UI", "Value": ["1.2"]}}
    other = image(_00080018={"vr": "UI", "Value": ["1.2.3"]}) | lengths
    response = await post(space, [metadata(image() | offsets, other), pixels(b"twelve bytes")])
    assert response.status_code == 200
    first, second = Dataset.from_json(response.json()).ReferencedSOPSequence
    assert first.WarningReason == 0xB006
    assert "WarningReason" not in second


async def test_a_type_that_holds_no_instances_is_415(space: Space) -> None:
    response = await post(space, [pixels(b"twelve bytes")], "image/jpeg")
    assert response.status_code == 415
    assert JSON in response.json()["detail"]


async def test_an_incomplete_request_stores_nothing(space: Space) -> None:
    whole = related([metadata(image()), pixels(b"twelve bytes")])
    kind = f'multipart/related; type="{JSON}"; boundary=frontier'
    for end in (200, len(whole) - 40, len(whole) - 4):
        response = await space.client.post(
            "/studies", content=whole[:end], headers={"content-type": kind}
        )
        assert response.status_code == 400
        assert "without its last boundary" in response.json()["detail"]
    assert not [each async for each in space.backends.bucket.list("instances/")]


async def test_a_full_spool_is_503_and_is_released(tmp_path: Path) -> None:
    async with space_in(tmp_path, spool_memory=1000, spool_limit=600_000) as space:
        full = await post(space, [metadata(image()), pixels(bytes(1_000_000))])
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        for _ in range(3):
            fits = await post(space, [metadata(image()), pixels(bytes(500_000))])
            assert fits.status_code == 200


def sent_events() -> tuple[float, float]:
    """Return the number of requests to the event sink so far, and of the events in them."""
    name = "dimse_events_batch_events"
    requests, events = (REGISTRY.get_sample_value(name + each) for each in ("_count", "_sum"))
    return requests or 0, events or 0


async def test_a_thousand_instances_are_stored_by_one_request(space: Space) -> None:
    uids = [f"1.2.3.{number}" for number in range(1000)]
    model = [image(_00080018={"vr": "UI", "Value": [uid]}) for uid in uids]
    before = sent_events()
    response = await post(space, [metadata(*model), pixels(b"twelve bytes")])
    assert response.status_code == 200
    assert len(Dataset.from_json(response.json()).ReferencedSOPSequence) == 1000
    requests, events = (now - then for now, then in zip(sent_events(), before, strict=True))
    assert events == 1000
    assert requests <= 500  # the events share requests and commits


async def test_more_instances_than_parts_are_413(tmp_path: Path) -> None:
    async with space_in(tmp_path, maximum_parts=3) as space:
        response = await post(space, [metadata(*[{}] * 4)])
        assert response.status_code == 413
        assert "DICOMWEB_MAXIMUM_PARTS" in response.json()["detail"]


async def test_an_xml_item_far_from_its_number_fails_alone(space: Space) -> None:
    document = (
        b'<NativeDicomModel><DicomAttribute tag="00081140" vr="SQ">'
        b'<Item number="1000000"/></DicomAttribute></NativeDicomModel>'
    )
    response = await post(space, [({"Content-Type": XML}, document)], XML)
    assert response.status_code == 409
    assert "items whose numbers are not" in response.headers["warning"]


async def test_a_part_named_too_often_is_413(tmp_path: Path) -> None:
    async with space_in(tmp_path, maximum_body=100_000) as space:
        parts = [metadata(*[image()] * 3), pixels(bytes(40_000))]
        response = await post(space, parts)
        assert response.status_code == 413
        assert "2 instances were stored" in response.json()["detail"]
