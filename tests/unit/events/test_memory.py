import pytest

from dimse_ingestion.dicom.failure import OutOfResources
from dimse_ingestion.events.memory import MemorySink
from tests.unit.events.examples import event


async def test_remembers_events_and_raises_the_given_failure() -> None:
    sink = MemorySink()
    await sink.check()
    await sink.accept(event())
    assert sink.accepted == [event()]
    sink.refusing = OutOfResources("down")
    for call in (sink.accept(event()), sink.check()):
        with pytest.raises(OutOfResources, match="down"):
            await call
    assert sink.accepted == [event()]
    await sink.close()
