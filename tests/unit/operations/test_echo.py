import asyncio

import pytest

from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.operations import echo
from dimse_ingestion.operations.echo import Echoing, Wellness


class Wire:
    """Something that is asked how it is."""

    def __init__(self, trouble: DimseFailure | None = None) -> None:
        self.trouble = trouble
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def check(self) -> None:
        self.asked += 1
        await self.may_answer.wait()
        if self.trouble:
            raise self.trouble


def echoing_over(bucket: Wire, sink: Wire, catalogue: Wire) -> Echoing:
    return Echoing(bucket.check, sink.check, catalogue.check)


async def test_all_well_has_no_trouble() -> None:
    seen = await echoing_over(Wire(), Wire(), Wire()).wellness()
    assert (seen, seen.trouble) == (Wellness(), "")


@pytest.mark.parametrize("which", range(3))
async def test_each_wire_tells_its_own_sentence(which: int) -> None:
    wires = [Wire(), Wire(), Wire()]
    wires[which].trouble = OutOfResources("It is down.")
    seen = await echoing_over(*wires).wellness()
    told = (seen.bucket, seen.event_sink, seen.catalogue)
    assert told == tuple("It is down." if each == which else "" for each in range(3))
    assert seen.trouble == "It is down."


async def test_a_storm_of_echoes_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "_REMEMBERED", 60.0)
    bucket = Wire()
    asked = echoing_over(bucket, Wire(), Wire())
    await asyncio.gather(*(asked.wellness() for _ in range(100)))
    await asked.wellness()
    assert bucket.asked == 1


async def test_what_was_seen_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo, "_REMEMBERED", 0.0)
    bucket = Wire(OutOfResources("It is down."))
    asked = echoing_over(bucket, Wire(), Wire())
    assert (await asked.wellness()).bucket
    bucket.trouble = None
    assert not (await asked.wellness()).bucket


async def test_a_wire_that_hangs_is_told_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echo, "_LONGEST_CHECK", 0.05)
    hanging = Wire()
    hanging.may_answer.clear()
    asked = echoing_over(Wire(), hanging, Wire(OutOfResources("It is down.")))
    seen = await asked.wellness()
    assert (seen.bucket, seen.catalogue) == ("", "It is down.")
    assert "No answer" in seen.event_sink


async def test_who_waits_long_is_not_made_to_wait_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look longer than it is remembered still answers all who waited for it."""
    monkeypatch.setattr(echo, "_LONGEST_CHECK", 0.05)
    monkeypatch.setattr(echo, "_REMEMBERED", 0.01)
    hanging = Wire()
    hanging.may_answer.clear()
    asked = echoing_over(hanging, Wire(), Wire())
    await asyncio.gather(*(asked.wellness() for _ in range(5)))
    assert hanging.asked == 1


async def test_one_who_leaves_takes_the_answer_from_nobody() -> None:
    slow = Wire()
    slow.may_answer.clear()
    asked = echoing_over(slow, Wire(), Wire(OutOfResources("It is down.")))
    impatient = asyncio.create_task(asked.wellness())
    patient = asyncio.create_task(asked.wellness())
    await asyncio.sleep(0)
    impatient.cancel()
    slow.may_answer.set()
    assert (await patient).catalogue == "It is down."
    assert (impatient.cancelled(), slow.asked) == (True, 1)
