import asyncio
import struct

import pytest

from dimse_ingestion.dicom.failure import OutOfResources
from dimse_ingestion.dicom.scanning import Scanner
from dimse_ingestion.operations.scan_pacing import ScanPacing

EXPLICIT = "1.2.840.10008.1.2.1"
ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
MANY_ITEMS = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 20_000 * len(ITEM)) + ITEM * 20_000


async def test_the_event_loop_has_a_turn_between_any_two_slices() -> None:
    """Of several scans at once no two slices follow each other without one."""
    turns, pacing = 0, ScanPacing()
    ran: list[int] = []

    class Noting(Scanner):
        def feeding(self, chunk):
            for each in super().feeding(chunk):
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


async def test_what_all_scans_keep_is_bounded_and_given_back() -> None:
    pacing, scanner = ScanPacing(room=2_000_000), Scanner(EXPLICIT)
    with pacing.share() as share:
        await share.feed(scanner, MANY_ITEMS)
        assert share.held == scanner.cost > 800_000
        with pacing.share() as other:
            await other.feed(Scanner(EXPLICIT), MANY_ITEMS)
            with pytest.raises(OutOfResources, match="send again"), pacing.share() as third:
                await third.feed(Scanner(EXPLICIT), MANY_ITEMS)
    with pacing.share() as share:
        await share.feed(Scanner(EXPLICIT), MANY_ITEMS)


async def test_a_sequence_that_is_not_kept_gives_its_room_back() -> None:
    pacing = ScanPacing()
    endless = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 0xFFFFFFFF) + ITEM * 600_000
    with pacing.share() as share:
        await share.feed(Scanner(EXPLICIT), endless)
        assert share.held < 1000
