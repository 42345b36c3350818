"""Rendered images by WADO-RS and WADO-URI, and clear errors where there is no image."""

from collections.abc import AsyncIterator
from io import BytesIO

import httpx2
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from pydicom import dcmread

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import (
    FILES,
    data_set_after,
    of,
    parts_of,
    path_of,
    reads,
    study_of,
)
from tests.storable import data_set_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
STORED = [
    "CT_small.dcm",
    "JPEG2000.dcm",
    "emri_small.dcm",
    "OBXXXX1A.dcm",
    "SC_rgb_rle_2frame.dcm",
    "gdcm-US-ALOKA-16.dcm",
    "color3d_jpeg_baseline.dcm",
    "liver.dcm",
    "rtplan.dcm",
]
IMAGES = STORED[:-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stored_images(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Space]:
    async with space_in(tmp_path_factory.mktemp("pictures") / "space") as opened:
        for name in STORED:
            await opened.store(FILES[name])
        yield opened


def decoded_image(answer: httpx2.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    opened = Image.open(BytesIO(answer.content))
    assert answer.headers["content-type"] == f"image/{str(opened.format).lower()}"
    return opened


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("accept", ["image/png", "image/jpeg", "*/*"])
async def test_an_image_is_rendered(stored_images: Space, name: str, accept: str) -> None:
    answer = await stored_images.client.get(f"{path_of(name)}/rendered", headers={"accept": accept})
    rendered = decoded_image(answer)
    assert rendered.size == (of(name).Columns, of(name).Rows)
    assert len(set(rendered.convert("L").getdata())) > 1


@pytest.mark.parametrize("name", IMAGES)
async def test_a_thumbnail_is_small(stored_images: Space, name: str) -> None:
    answer = await stored_images.client.get(f"{path_of(name)}/thumbnail")
    small = decoded_image(answer)
    assert small.format == "JPEG"
    assert max(small.size) <= 200
    assert len(answer.content) < 20_000


async def test_several_frames_are_multipart_and_one_is_the_body(stored_images: Space) -> None:
    path = f"{path_of('emri_small.dcm')}/frames"
    answer = await stored_images.client.get(
        f"{path}/1,5,10/rendered", headers={"accept": "image/png"}
    )
    parts = parts_of(answer)
    assert [content_type for content_type, _ in parts] == ["image/png"] * 3
    alone = await stored_images.client.get(f"{path}/5/rendered", headers={"accept": "image/png"})
    assert alone.content == parts[1][1]
    middle = await stored_images.client.get(
        f"{path_of('emri_small.dcm')}/rendered", headers={"accept": "image/png"}
    )
    sixth = await stored_images.client.get(f"{path}/6/rendered", headers={"accept": "image/png"})
    assert middle.content == sixth.content


async def test_a_study_and_a_series_are_rendered_as_their_images(stored_images: Space) -> None:
    study = study_of("CT_small.dcm")
    series = path_of("CT_small.dcm").rpartition("/instances/")[0]
    for path in (study, series):
        answer = await stored_images.client.get(
            f"{path}/rendered", headers={"accept": 'multipart/related; type="image/png"'}
        )
        assert parts_of(answer)
        assert decoded_image(await stored_images.client.get(f"{path}/thumbnail"))


async def test_the_requested_window_is_applied(stored_images: Space) -> None:
    path = f"{path_of('CT_small.dcm')}/rendered"
    png = {"accept": "image/png"}
    narrow = decoded_image(
        await stored_images.client.get(path, params={"window": "0,1"}, headers=png)
    )
    assert set(narrow.getdata()) == {0, 255}
    stored = of("CT_small.dcm")
    values = stored.pixel_array * float(stored.RescaleSlope) + float(stored.RescaleIntercept)
    assert ((np.asarray(narrow) > 127) == (values > -0.5)).all()


async def test_viewport_and_quality_are_applied_and_ignored_parameters_warned_of(
    stored_images: Space,
) -> None:
    path = f"{path_of('CT_small.dcm')}/rendered"
    answer = await stored_images.client.get(
        path, params={"viewport": "64,32", "annotation": "patient"}
    )
    assert decoded_image(answer).size == (32, 32)
    assert "annotation" in answer.headers["warning"]
    coarse = await stored_images.client.get(path, params={"quality": "5"})
    fine = await stored_images.client.get(path, params={"quality": "95"})
    assert len(coarse.content) < len(fine.content)


async def test_an_unchanged_rendering_is_304(stored_images: Space) -> None:
    path = f"{path_of('CT_small.dcm')}/rendered"
    tag = (await stored_images.client.get(path)).headers["etag"]
    before = reads()
    again = await stored_images.client.get(path, headers={"if-none-match": tag})
    assert (again.status_code, again.content, reads()) == (304, b"", before)
    other = await stored_images.client.get(
        path, params={"window": "1,2"}, headers={"if-none-match": tag}
    )
    assert other.status_code == 200


@pytest.mark.parametrize("what", ["rendered", "thumbnail"])
async def test_rendering_an_instance_that_is_not_an_image_is_406(
    stored_images: Space, what: str
) -> None:
    for path in (path_of("rtplan.dcm"), study_of("rtplan.dcm")):
        answer = await stored_images.client.get(f"{path}/{what}")
        assert answer.status_code == 406
        assert "application/dicom" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["window=1", "viewport=0,0", "quality=0"])
async def test_invalid_rendering_parameters_are_400(stored_images: Space, query: str) -> None:
    answer = await stored_images.client.get(f"{path_of('CT_small.dcm')}/rendered?{query}")
    assert answer.status_code == 400


async def uri(space: Space, name: str, **extra: str) -> httpx2.Response:
    """Send a WADO-URI request for the instance of a file."""
    head = of(name)
    parameters = {
        "requestType": "WADO",
        "studyUID": str(head.StudyInstanceUID),
        "seriesUID": str(head.SeriesInstanceUID),
        "objectUID": str(head.SOPInstanceUID),
    }
    return await space.client.get("/wado", params=parameters | extra)


async def test_wado_uri_returns_the_instance_as_stored(stored_images: Space) -> None:
    answer = await uri(stored_images, "JPEG2000.dcm", contentType="application/dicom")
    assert data_set_after(answer.content) == data_set_of(FILES["JPEG2000.dcm"])
    plain = await uri(stored_images, "rtplan.dcm")
    assert data_set_after(plain.content) == data_set_of(FILES["rtplan.dcm"])


async def test_wado_uri_returns_another_transfer_syntax(stored_images: Space) -> None:
    syntax = "1.2.840.10008.1.2.1"
    answer = await uri(
        stored_images, "JPEG2000.dcm", contentType="application/dicom", transferSyntax=syntax
    )
    assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == syntax
    refused = await uri(
        stored_images, "JPEG2000.dcm", contentType="application/dicom", transferSyntax="1.2.3"
    )
    assert refused.status_code == 406


async def test_wado_uri_returns_rendered_images(stored_images: Space) -> None:
    assert decoded_image(await uri(stored_images, "CT_small.dcm")).format == "JPEG"
    view = {"contentType": "image/png", "windowCenter": "0", "windowWidth": "1", "rows": "64"}
    shown = decoded_image(await uri(stored_images, "CT_small.dcm", **view))
    assert (shown.format, shown.size) == ("PNG", (64, 64))
    fifth = await uri(stored_images, "emri_small.dcm", frameNumber="5", contentType="image/png")
    by_path = await stored_images.client.get(
        f"{path_of('emri_small.dcm')}/frames/5/rendered", headers={"accept": "image/png"}
    )
    assert fifth.content == by_path.content


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"requestType": "WAVE"}, 400),
        ({"studyUID": ""}, 400),
        ({"objectUID": "../../etc"}, 400),
        ({"objectUID": "9.9"}, 404),
        ({"anonymize": "yes"}, 400),
        ({"contentType": "video/mpeg"}, 406),
        ({"frameNumber": "2"}, 404),
        ({"frameNumber": "x"}, 400),
        ({"windowCenter": "1"}, 400),
    ],
)
async def test_wado_uri_refuses_invalid_parameters_with_a_message(
    stored_images: Space, parameters: dict[str, str], status: int
) -> None:
    answer = await uri(stored_images, "CT_small.dcm", **parameters)
    assert answer.status_code == status
    assert answer.json()["detail"]
