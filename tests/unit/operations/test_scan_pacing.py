import asyncio
import struct
from collections.abc import Iterator

import pytest

from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.operations.scan_pacing import ScanPacing

EXPLICIT = "1.2.840.10008.1.2.1"
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
MAX_SCAN = ParserLimits().retained
MANY_ITEMS = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 20_000 * len(ITEM)) + ITEM * 20_000
FEW_ITEMS = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 5_000 * len(ITEM)) + ITEM * 5_000


async def test_the_event_loop_runs_between_any_two_slices() -> None:
    """Of several scans at once no two slices follow each other without one."""
    turns, pacing = 0, ScanPacing()
    ran: list[int] = []

    class RecordingScanner(Scanner):
        def feed_in_slices(self, chunk: bytes | memoryview) -> Iterator[None]:
            for each in super().feed_in_slices(chunk):
                ran.append(turns)
                yield each

    async def scan() -> None:
        with pacing.share() as share:
            await share.feed(RecordingScanner(EXPLICIT), MANY_ITEMS)

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


async def scan_chunks(pacing: ScanPacing, *chunks: bytes) -> Scanner:
    scanner = Scanner(EXPLICIT)
    with pacing.share() as share:
        for chunk in chunks:
            await share.feed(scanner, chunk)
    return scanner


async def test_scans_with_many_elements_run_one_after_another_and_all_end() -> None:
    pacing = ScanPacing(budget=MAX_SCAN)
    scanners = await asyncio.gather(*(scan_chunks(pacing, MANY_ITEMS) for _ in range(5)))
    assert {len(each.elements[0].items or []) for each in scanners} == {20_000}


async def test_a_scan_with_many_elements_waits_for_others_to_end() -> None:
    pacing = ScanPacing(budget=MAX_SCAN, maximum_wait=0.01)
    with pacing.share() as share:
        await share.feed(Scanner(EXPLICIT), MANY_ITEMS)
        assert share.reserved == MAX_SCAN
        with pytest.raises(Unavailable, match="send again"):
            await scan_chunks(pacing, MANY_ITEMS)
        await scan_chunks(pacing, FEW_ITEMS)
    await scan_chunks(pacing, MANY_ITEMS)


async def test_a_scan_reserves_less_memory_while_its_pixels_pass() -> None:
    pacing, scanner = ScanPacing(budget=2 * MAX_SCAN), Scanner(EXPLICIT)
    with pacing.share() as share:
        await share.feed(scanner, MANY_ITEMS)
        await share.feed(scanner, struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OW", 2**31))
        assert share.reserved == scanner.cost < MAX_SCAN


async def test_a_scan_of_few_elements_reserves_no_memory() -> None:
    await scan_chunks(ScanPacing(budget=0), FEW_ITEMS)
