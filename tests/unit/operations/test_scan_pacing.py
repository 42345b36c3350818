import asyncio
import struct

import pytest

from dimse_ingestion.dicom.failure import OutOfResources
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanning import Scanner
from dimse_ingestion.operations.scan_pacing import ScanPacing

EXPLICIT = "1.2.840.10008.1.2.1"
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
KEPT = ParserLimits().kept
MANY_ITEMS = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 20_000 * len(ITEM)) + ITEM * 20_000
FEW_ITEMS = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 5_000 * len(ITEM)) + ITEM * 5_000


async def test_the_event_loop_has_a_turn_between_any_two_slices() -> None:
    """Of several scans at once no two slices follow each other without one."""
    turns, pacing = 0, ScanPacing()
    ran: list[int] = []

    class Noting(Scanner):
        def feed_in_slices(self, chunk):
            for each in super().feed_in_slices(chunk):
                ran.append(turns)
                yield each

    async def scan() -> None:
        with pacing.share() as share:
            await share.feed(Noting(EXPLICIT), MANY_ITEMS)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.gather(*(scan() for _ in range(5)))
    counting.cancel()
    assert len(ran) >= 5 * 19
    assert max(ran.count(turn) for turn in set(ran[5:])) == 1  # all five may begin at once


async def fed(pacing: ScanPacing, *chunks: bytes) -> Scanner:
    scanner = Scanner(EXPLICIT)
    with pacing.share() as share:
        for chunk in chunks:
            await share.feed(scanner, chunk)
    return scanner


async def test_scans_that_keep_much_take_turns_and_all_come_to_an_end() -> None:
    pacing = ScanPacing(budget=KEPT)
    found = await asyncio.gather(*(fed(pacing, MANY_ITEMS) for _ in range(5)))
    assert {len(each.elements[0].items or []) for each in found} == {20_000}


async def test_a_scan_that_keeps_much_waits_for_others_to_end() -> None:
    pacing = ScanPacing(budget=KEPT, maximum_wait=0.01)
    with pacing.share() as share:
        await share.feed(Scanner(EXPLICIT), MANY_ITEMS)
        assert share.reserved == KEPT
        with pytest.raises(OutOfResources, match="send again"):
            await fed(pacing, MANY_ITEMS)
        await fed(pacing, FEW_ITEMS)
    await fed(pacing, MANY_ITEMS)


async def test_a_scan_needs_less_room_while_its_pixels_pass() -> None:
    pacing, scanner = ScanPacing(budget=2 * KEPT), Scanner(EXPLICIT)
    with pacing.share() as share:
        await share.feed(scanner, MANY_ITEMS)
        await share.feed(scanner, struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", 2**31))
        assert share.reserved == scanner.cost < KEPT


async def test_a_scan_of_few_elements_asks_for_no_room() -> None:
    await fed(ScanPacing(budget=0), FEW_ITEMS)
