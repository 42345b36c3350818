from collections.abc import AsyncGenerator

import pytest

from dimse_ingestion.dicom import encoder, uids
from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.scanner import scan
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded, Unavailable
from dimse_ingestion.operations.find import Finder, pending_status
from dimse_ingestion.queries.contract import Query
from dimse_ingestion.queries.memory import MemoryQueryClient
from tests.unit.operations.instances import DEFLATED, DOWN, ELEMENTS, EXPLICIT, IMPLICIT

CHARACTER_SET, LEVEL, NAME = 0x00080005, 0x00080052, 0x00100010
STUDY_UID, PATIENT_ID, STUDY_DATE = 0x0020000D, 0x00100020, 0x00080020
KEYS = (element(NAME, "PN"), element(STUDY_UID, "UI"), element(STUDY_DATE, "DA"))


def instance(number: int, *changed: Element) -> list[Element]:
    """Return one of a study of its own."""
    own = (
        element(0x00080018, "UI", f"1.2.9.{number}"),
        element(STUDY_UID, "UI", f"1.2.3.{number}"),
        element(0x0020000E, "UI", f"1.2.4.{number}"),
    )
    return list((ELEMENTS | {each.tag: each for each in (*own, *changed)}).values())


def identifier(*keys: Element, level: str = "STUDY", syntax: str = EXPLICIT) -> bytes:
    return encoder.encode([element(LEVEL, "CS", level), *(keys or KEYS)], syntax)


async def found_matches(
    finder: Finder, requested: bytes, *, syntax: str = EXPLICIT, root: str = uids.STUDY_ROOT_FIND
) -> list[bytes]:
    query = await finder.parse_query(requested, root, syntax, relational=False)
    return [each async for each in finder.matches(query, "DICOM-INGEST", syntax)]


async def only_match(
    client: "MemoryQueryClient | RecordingClient", *keys: Element, syntax: str = EXPLICIT
) -> dict[int, Element]:
    (found_match,) = await found_matches(
        Finder(client, 10), identifier(*keys, syntax=syntax), syntax=syntax
    )
    return by_tag(scan(found_match, syntax))


class RecordingClient(MemoryQueryClient):
    """A catalogue that returns given matches, and records the queries it received."""

    def __init__(self, *matches: list[Element]) -> None:
        super().__init__()
        self.given = matches
        self.queries: list[Query] = []
        self.closed = False

    async def matches(self, query: Query) -> AsyncGenerator[list[Element], None]:
        self.queries.append(query)
        try:
            for match in self.given:
                yield match
        finally:
            self.closed = True


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED, uids.EXPLICIT_VR_BIG_ENDIAN])
async def test_a_match_has_every_requested_key_and_the_keys_of_the_scp(syntax: str) -> None:
    found_match = await only_match(MemoryQueryClient([instance(1)]), syntax=syntax)
    assert {tag: each.value for tag, each in found_match.items()} == {
        LEVEL: "STUDY",
        0x00080054: "DICOM-INGEST",
        0x00080056: "ONLINE",
        NAME: "Doe^Jane",
        STUDY_UID: "1.2.3.1",
        STUDY_DATE: "",
        PATIENT_ID: "4711",
    }


async def test_matches_that_no_ae_sends_to_the_requestor_are_unavailable() -> None:
    finder = Finder(MemoryQueryClient([instance(1)]), 10)
    query = await finder.parse_query(identifier(), uids.STUDY_ROOT_FIND, EXPLICIT, relational=False)
    (match,) = [each async for each in finder.matches(query, "", EXPLICIT)]
    elements = by_tag(scan(match, EXPLICIT))
    assert (elements[0x00080054].value, elements[0x00080056].value) == ("", "UNAVAILABLE")


async def test_unique_keys_of_the_levels_above_are_added_to_the_query() -> None:
    catalogue = RecordingClient()
    requested = [element(STUDY_UID, "UI", "1.2"), element(0x0020000E, "UI")]
    await found_matches(Finder(catalogue, 10), identifier(*requested, level="SERIES"))
    (query,) = catalogue.queries
    assert query.scope == "SERIES"
    assert {(key.tag, key.vr) for key in query.keys} == {
        (STUDY_UID, "UI"),
        (0x0020000E, "UI"),
        (PATIENT_ID, "LO"),
    }


@pytest.mark.parametrize(
    ("name", "stored", "answered"),
    [
        ("Doe^Jane", "ISO_IR 100", None),
        ("Müller^Jörg", "ISO_IR 100", "ISO_IR 100"),
        ("Müller^Jörg", "", "ISO_IR 192"),
        ("Люкceмбypг", "ISO_IR 144", "ISO_IR 144"),
        ("Люкceмбypг", "ISO_IR 100", "ISO_IR 192"),
        ("Yamada^Tarou=山田^太郎", "\\ISO 2022 IR 87", "\\ISO 2022 IR 87"),
    ],
)
async def test_the_character_set_is_the_stored_one_if_it_has_every_letter(
    name: str, stored: str, answered: str | None
) -> None:
    match = [element(CHARACTER_SET, "CS", stored), element(NAME, "PN", name)]
    found_match = await only_match(RecordingClient(match))
    assert found_match[NAME].value == name
    assert (found_match[CHARACTER_SET].value if CHARACTER_SET in found_match else None) == answered


async def test_a_bulk_value_is_returned_empty() -> None:
    comments = Element("0010", "4000", "LT", bulk=BulkReference(500, 100_000))
    found_match = await only_match(RecordingClient([comments]), element(0x00104000, "LT"))
    assert found_match[0x00104000].value == ""


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
async def test_a_value_that_cannot_be_encoded_is_left_out_of_its_match(syntax: str) -> None:
    wrong = element(0x00201206, "US", "many")
    found_match = await only_match(
        RecordingClient([element(NAME, "PN", "Doe^Jane"), wrong]), syntax=syntax
    )
    assert found_match[NAME].value == "Doe^Jane"
    assert 0x00201206 not in found_match


@pytest.mark.parametrize(("stored", "sent"), [(2, 2), (3, 3)])
async def test_as_many_matches_as_allowed_succeed(stored: int, sent: int) -> None:
    client = MemoryQueryClient([instance(number) for number in range(stored)])
    assert len(await found_matches(Finder(client, 3), identifier())) == sent


async def test_more_matches_than_allowed_end_with_a700_after_the_allowed_ones() -> None:
    catalogue = RecordingClient(*(instance(number) for number in range(5)))
    finder = Finder(catalogue, 3)
    query = await finder.parse_query(identifier(), uids.STUDY_ROOT_FIND, EXPLICIT, relational=False)
    matches = finder.matches(query, "DICOM-INGEST", EXPLICIT)
    for _ in range(3):
        assert await anext(matches)
    with pytest.raises(LimitExceeded, match="More than 3 matches") as ended:
        await anext(matches)
    assert (ended.value.transient, catalogue.queries[0].limit) == (False, 4)
    assert catalogue.closed


async def test_closing_the_matches_ends_the_query_at_the_catalogue() -> None:
    catalogue = RecordingClient(instance(1), instance(2))
    finder = Finder(catalogue, 3)
    query = await finder.parse_query(identifier(), uids.STUDY_ROOT_FIND, EXPLICIT, relational=False)
    matches = finder.matches(query, "DICOM-INGEST", EXPLICIT)
    await anext(matches)
    await matches.aclose()
    assert catalogue.closed


async def test_the_error_of_a_catalogue_that_is_down_is_raised() -> None:
    client = MemoryQueryClient()
    client.refusing = DOWN
    with pytest.raises(Unavailable) as refused:
        await found_matches(Finder(client, 3), identifier())
    assert refused.value is DOWN


async def test_an_identifier_that_cannot_be_read_is_c001() -> None:
    with pytest.raises(DimseFailure, match="Identifier unreadable") as refused:
        await found_matches(Finder(MemoryQueryClient(), 3), identifier()[:-1] + b"\0\0\1")
    assert refused.value.status == Status.UNABLE_TO_PROCESS


async def test_an_identifier_at_a_wrong_level_is_a900() -> None:
    with pytest.raises(DimseFailure, match="0008,0052") as refused:
        await found_matches(Finder(MemoryQueryClient(), 3), identifier(level="PATIENT"))
    assert refused.value.status == Status.DOES_NOT_MATCH_SOP_CLASS


async def test_an_unsupported_key_makes_the_status_ff01() -> None:
    finder = Finder(MemoryQueryClient(), 3)
    private = element(0x00091010, "LO")
    for keys, status in (
        (KEYS, Status.PENDING),
        ((*KEYS, private), Status.PENDING_WITHOUT_OPTIONAL_KEYS),
    ):
        requested = identifier(*keys)
        query = await finder.parse_query(
            requested, uids.STUDY_ROOT_FIND, EXPLICIT, relational=False
        )
        assert pending_status(query) == status
