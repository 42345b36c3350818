"""Call every method of dicomweb-client's DICOMwebClient on the service.

What each service answers in full is in the tests beside this one; here each method that the library
has is called once, and one that it gets later fails until it is in the table.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset
from requests import HTTPError

from tests.integration.dicomweb.conftest import Space, space_in
from tests.integration.dicomweb.retrieved import FILES, of

pytestmark = pytest.mark.asyncio(loop_scope="module")
NAME = "SC_rgb_rle_2frame.dcm"
FRAME = 100 * 100 * 3
JPEG, PNG = b"\xff\xd8", b"\x89PNG"
NATIVE = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
ANY_SYNTAX = (("application/dicom", "*"),)
NO_SERVICE = {"set_chunk_size", "set_http_retry_params", "lookup_keyword", "lookup_tag"}
"""What asks the server nothing."""


@dataclass(frozen=True)
class Asked:
    """A client, the UIDs of what is stored, and where its pixels are had."""

    client: DICOMwebClient
    study: str
    series: str
    instance: str
    bulk_data: str

    @property
    def uids(self) -> tuple[str, str, str]:
        return self.study, self.series, self.instance


def found(matches: list[dict[str, dict[str, object]]], asked: Asked) -> bool:
    return [each["0020000D"]["Value"] for each in matches] == [[asked.study]]


def stored(data_sets: list[Dataset]) -> bool:
    return data_sets == [of(NAME)]


def sizes(values: list[bytes]) -> list[int]:
    return [len(each) for each in values]


def refused(call: Callable[..., None], *uids: str) -> bool:
    """Assert that deletion is refused."""
    with pytest.raises(HTTPError) as raised:
        call(*uids)
    assert raised.value.response is not None
    return raised.value.response.status_code == 405


CALLS: dict[str, Callable[[Asked], bool]] = {
    "search_for_studies": lambda a: found(
        a.client.search_for_studies(fields=["all"], search_filters={"PatientID": "*"}), a
    ),
    "search_for_series": lambda a: found(a.client.search_for_series(a.study, limit=5), a),
    "search_for_instances": lambda a: found(
        a.client.search_for_instances(a.study, a.series, limit=1, get_remaining=True), a
    ),
    "retrieve_study": lambda a: stored(a.client.retrieve_study(a.study, ANY_SYNTAX)),
    "retrieve_series": lambda a: stored(a.client.retrieve_series(a.study, a.series, ANY_SYNTAX)),
    "retrieve_instance": lambda a: stored([a.client.retrieve_instance(*a.uids, ANY_SYNTAX)]),
    "iter_study": lambda a: stored(list(a.client.iter_study(a.study, ANY_SYNTAX))),
    "iter_series": lambda a: stored(list(a.client.iter_series(a.study, a.series, ANY_SYNTAX))),
    "retrieve_study_metadata": lambda a: found(a.client.retrieve_study_metadata(a.study), a),
    "retrieve_series_metadata": lambda a: found(
        a.client.retrieve_series_metadata(a.study, a.series), a
    ),
    "retrieve_instance_metadata": lambda a: found(
        [a.client.retrieve_instance_metadata(*a.uids)], a
    ),
    "retrieve_instance_frames": lambda a: (
        sizes(a.client.retrieve_instance_frames(*a.uids, [1, 2], NATIVE)) == [FRAME] * 2
    ),
    "iter_instance_frames": lambda a: (
        sizes(list(a.client.iter_instance_frames(*a.uids, [2], NATIVE))) == [FRAME]
    ),
    "retrieve_series_rendered": lambda a: a.client.retrieve_series_rendered(
        a.study, a.series
    ).startswith(JPEG),
    "retrieve_instance_rendered": lambda a: a.client.retrieve_instance_rendered(
        *a.uids, ("image/png",)
    ).startswith(PNG),
    "retrieve_instance_frames_rendered": lambda a: a.client.retrieve_instance_frames_rendered(
        *a.uids, [2]
    ).startswith(JPEG),
    "retrieve_bulkdata": lambda a: (
        sizes(a.client.retrieve_bulkdata(a.bulk_data, NATIVE)) == [2 * FRAME]
    ),
    "iter_bulkdata": lambda a: (
        sizes(list(a.client.iter_bulkdata(a.bulk_data, NATIVE))) == [2 * FRAME]
    ),
    "store_instances": lambda a: (
        len(a.client.store_instances([of(NAME)], a.study).ReferencedSOPSequence) == 1
    ),
    "delete_study": lambda a: refused(a.client.delete_study, a.study),
    "delete_series": lambda a: refused(a.client.delete_series, a.study, a.series),
    "delete_instance": lambda a: refused(a.client.delete_instance, *a.uids),
}
"""Method → whether it did what it is for."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    async with space_in(tmp_path_factory.mktemp("client") / "space") as space:
        await space.store(FILES[NAME])
        image = of(NAME)
        uids = image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID
        yield Asked(DICOMwebClient(space.base), *uids, bulk_data=await pixels_of(space, *uids))


async def pixels_of(space: Space, study: str, series: str, instance: str) -> str:
    path = f"/studies/{study}/series/{series}/instances/{instance}/metadata"
    address: str = (await space.client.get(path)).json()[0]["7FE00010"]["BulkDataURI"]
    return address


@pytest.mark.parametrize("method", CALLS)
async def test_each_method_of_the_client_does_what_it_is_for(asked: Asked, method: str) -> None:
    assert await asyncio.to_thread(CALLS[method], asked)


async def test_the_table_has_every_method_of_the_client() -> None:
    methods = inspect.getmembers(DICOMwebClient, inspect.isroutine)
    public = {name for name, _ in methods if not name.startswith("_")}
    assert public == CALLS.keys() | NO_SERVICE
