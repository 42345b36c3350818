from collections.abc import AsyncGenerator

import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.operations.commitment import CommitmentCheck, InstanceReference
from dimse_ingestion.queries.contract import Located, Query
from tests.retrievable import Archive
from tests.unit.operations.instances import CT, EXPLICIT, SOP_INSTANCE, data_set

MR = "1.2.840.10008.5.1.4.1.1.4"
STORED = InstanceReference(CT, SOP_INSTANCE)


async def archive_of_one() -> Archive:
    archive = Archive()
    await archive.add(data_set(pixels=bytes(3000)), EXPLICIT, uid=SOP_INSTANCE, sop=CT)
    return archive


def check(archive: Archive) -> CommitmentCheck:
    return CommitmentCheck(archive.bucket, archive.queries)


def change_object(archive: Archive, content: bytes | None) -> None:
    key = next(iter(archive.bucket.objects))
    if content is None:
        del archive.bucket.objects[key]
    else:
        archive.bucket.objects[key] = content


def object_of(archive: Archive) -> bytes:
    return next(iter(archive.bucket.objects.values()))


@pytest.mark.parametrize("reads_objects", [False, True])
async def test_a_stored_instance_is_safe(*, reads_objects: bool) -> None:
    archive = await archive_of_one()
    assert await check(archive).reasons([STORED], reads_objects=reads_objects) == [Status.SUCCESS]


async def test_each_reference_has_its_reason_in_order() -> None:
    archive = await archive_of_one()
    references = [
        InstanceReference(CT, "1.2.3.4"),
        STORED,
        InstanceReference(MR, SOP_INSTANCE),
        InstanceReference(CT, "no uid * \\ ?"),
        STORED,
    ]
    assert await check(archive).reasons(references) == [0x0112, 0, 0x0119, 0x0112, 0]


async def test_nothing_is_found_for_no_valid_uid() -> None:
    archive = await archive_of_one()
    assert await check(archive).reasons([InstanceReference(CT, "")]) == [0x0112]
    assert await check(archive).reasons([]) == []


@pytest.mark.parametrize("reads_objects", [False, True])
async def test_an_object_that_is_gone_is_not_available(*, reads_objects: bool) -> None:
    archive = await archive_of_one()
    change_object(archive, None)
    assert await check(archive).reasons([STORED], reads_objects=reads_objects) == [0x0112]


@pytest.mark.parametrize("cut", [1, 500])
async def test_an_object_of_another_size_is_damaged(cut: int) -> None:
    archive = await archive_of_one()
    change_object(archive, object_of(archive)[:-cut])
    assert await check(archive).reasons([STORED]) == [0x0110]


async def test_a_changed_byte_is_found_only_by_reading() -> None:
    archive = await archive_of_one()
    content = object_of(archive)
    change_object(archive, content[:-1] + bytes([content[-1] ^ 1]))
    assert await check(archive).reasons([STORED]) == [Status.SUCCESS]
    assert await check(archive).reasons([STORED], reads_objects=True) == [0x0110]


async def test_an_object_that_disappears_while_it_is_read_is_not_available() -> None:
    archive = await archive_of_one()

    class Vanishing(CommitmentCheck):
        async def _digest_reason(self, entry: object) -> Status:
            change_object(archive, None)
            return await super()._digest_reason(entry)  # type: ignore[arg-type] # passed on

    vanishing = Vanishing(archive.bucket, archive.queries)
    assert await vanishing.reasons([STORED], reads_objects=True) == [0x0112]


async def test_a_bucket_that_is_down_is_no_answer() -> None:
    archive = await archive_of_one()
    archive.bucket.refusing = Unavailable("The bucket is down.")
    with pytest.raises(Unavailable, match="bucket"):
        await check(archive).reasons([STORED])


async def test_a_catalogue_that_is_down_is_no_answer() -> None:
    archive = await archive_of_one()
    archive.queries.refusing = Unavailable("The catalogue is down.")
    with pytest.raises(Unavailable, match="catalogue"):
        await check(archive).reasons([STORED])


async def test_a_missing_bucket_is_not_taken_for_missing_objects() -> None:
    """A store answers a HEAD in a missing bucket as it does for a missing object."""
    archive = await archive_of_one()
    change_object(archive, None)

    async def missing(*, write: bool = False) -> None:
        assert not write
        raise Unavailable("The bucket does not exist.")

    archive.bucket.check = missing  # type: ignore[method-assign] # as the store answers
    with pytest.raises(Unavailable, match="does not exist"):
        await check(archive).reasons([STORED])


async def test_one_whole_object_of_an_instance_in_two_studies_is_enough() -> None:
    archive = await archive_of_one()
    located = await anext(archive.queries.objects(Query(scope="IMAGE", keys=[])))

    class Twice(type(archive.queries)):  # type: ignore[misc] # an instance's class
        async def objects(self, query: Query) -> AsyncGenerator[Located, None]:
            yield Located(
                elements=located.elements,
                transfer_syntax_uid=located.transfer_syntax_uid,
                bucket_name=located.bucket_name,
                object_name="gone",
                size=located.size,
                header_size=located.header_size,
                sha256=located.sha256,
            )
            yield located

    assert await CommitmentCheck(archive.bucket, Twice()).reasons([STORED]) == [Status.SUCCESS]
