import pytest

from dimse_ingestion.events.memory import MemorySink
from dimse_ingestion.failures import Unavailable
from tests.unit.events.examples import event


async def test_remembers_events_and_raises_the_given_failure() -> None:
    sink = MemorySink()
    await sink.check()
    await sink.accept(event())
    assert sink.accepted == [event()]
    sink.refusing = Unavailable("down")
    for call in (sink.accept(event()), sink.check()):
        with pytest.raises(Unavailable, match="down"):
            await call
    assert sink.accepted == [event()]
    await sink.close()
