import pytest

from dimse_ingestion.dicom.elements import by_tag, element
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.queries.contract import Located, Query
from dimse_ingestion.queries.memory import MemoryQueryClient
from tests.unit.queries.examples import INSTANCE, NAME, PATIENT, SERIES, STUDY, instance

INSTANCES = [
    instance("P1", "1.1", "1.1.1", "1.1.1.1"),
    instance("P1", "1.1", "1.1.1", "1.1.1.2"),
    instance("P1", "1.1", "1.1.2", "1.1.2.1", modality="MR"),
    instance("P1", "1.2", "1.2.1", "1.2.1.1"),
    instance("P2", "2.1", "2.1.1", "2.1.1.1", name="Ünal^Ayşe", character_set="ISO_IR 192"),
]


async def found(query: Query, tag: int) -> list[str]:
    client = MemoryQueryClient(INSTANCES)
    return [by_tag(match)[tag].value async for match in client.matches(query)]


@pytest.mark.parametrize(
    ("scope", "tag", "values"),
    [
        ("PATIENT", PATIENT, ["P1", "P2"]),
        ("STUDY", STUDY, ["1.1", "1.2", "2.1"]),
        ("SERIES", SERIES, ["1.1.1", "1.1.2", "1.2.1", "2.1.1"]),
        ("IMAGE", INSTANCE, ["1.1.1.1", "1.1.1.2", "1.1.2.1", "1.2.1.1", "2.1.1.1"]),
    ],
)
async def test_each_level_has_its_matches(scope: str, tag: int, values: list[str]) -> None:
    assert await found(Query(scope=scope, keys=[]), tag) == values


async def test_matches_by_wildcard_and_pages() -> None:
    keys = [element(NAME, "PN", "doe*"), element(STUDY, "UI")]
    assert await found(Query(scope="STUDY", keys=keys), STUDY) == ["1.1", "1.2"]
    assert await found(Query(scope="STUDY", keys=keys, limit=1, offset=1), STUDY) == ["1.2"]


async def test_counts_and_collects() -> None:
    keys = [element(tag, "IS") for tag in (0x00201206, 0x00201208)] + [element(0x00080061, "CS")]
    client = MemoryQueryClient(INSTANCES)
    query = Query(scope="STUDY", keys=[*keys, element(STUDY, "UI", "1.1")])
    [match] = [each async for each in client.matches(query)]
    values = {tag: each.value for tag, each in by_tag(match).items()}
    assert values[0x00201206] == "2"
    assert values[0x00201208] == "3"
    assert values[0x00080061] == "CT\\MR"


async def test_a_match_has_the_keys_the_unique_keys_and_the_character_set() -> None:
    client = MemoryQueryClient(INSTANCES[-1:])
    query = Query(scope="STUDY", keys=[element(NAME, "PN")])
    [match] = [each async for each in client.matches(query)]
    assert [each.tag for each in match] == [0x00080005, NAME, PATIENT, STUDY]
    assert by_tag(match)[0x00080005].value == "ISO_IR 192"


async def test_every_call_raises_the_given_failure() -> None:
    client = MemoryQueryClient()
    client.refusing = Unavailable("down")
    with pytest.raises(Unavailable, match="down"):
        await anext(client.matches(Query(scope="STUDY", keys=[])))
    with pytest.raises(Unavailable, match="down"):
        await client.check()
    await client.close()


async def test_all_keys_gives_what_the_level_knows() -> None:
    client = MemoryQueryClient(INSTANCES)
    query = Query(scope="STUDY", keys=[element(STUDY, "UI", "1.1")], all_keys=True)
    [match] = [by_tag(match) async for match in client.matches(query)]
    assert match[NAME].value == "Doe^Jane"
    assert match[0x00201208].value == "3"
    assert INSTANCE not in match


async def test_objects_are_found_like_instances() -> None:
    client = MemoryQueryClient()
    objects = [
        Located(
            elements=each,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            bucket_name="bucket",
            object_name=f"instances/{number}",
            size=10,
            header_size=0,
            sha256="00" * 32,
        )
        for number, each in enumerate(INSTANCES)
    ]
    for each in objects:
        client.add(each)
    query = Query(scope="IMAGE", keys=[element(SERIES, "UI", "1.1.1")], offset=1)
    assert [each async for each in client.objects(query)] == objects[1:2]
