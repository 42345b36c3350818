import asyncio

from dimse_ingestion.upper_layer.flow_control import MAXIMUM_QUEUED, FlowControl


class Reading:
    """The reading side of a transport connection."""

    def __init__(self) -> None:
        self.now = True

    def pause_reading(self) -> None:
        assert self.now
        self.now = False

    def resume_reading(self) -> None:
        assert not self.now
        self.now = True


def made() -> tuple[FlowControl, Reading]:
    reading = Reading()
    return FlowControl(reading, lambda work, name: asyncio.create_task(work, name=name)), reading  # type: ignore[arg-type]


async def test_reading_begins_again_when_no_reason_is_left() -> None:
    flow, reading = made()
    gates = [asyncio.Event(), asyncio.Event()]
    for gate in gates:
        flow.hold(gate.wait())  # type: ignore[arg-type]
    flow.update_backlog(MAXIMUM_QUEUED)
    assert flow.is_paused
    for gate in gates:
        assert not reading.now
        gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not reading.now
    flow.update_backlog(MAXIMUM_QUEUED - 1)
    assert reading.now
    assert not flow.is_paused


async def test_a_wait_that_fails_is_over_too() -> None:
    flow, reading = made()

    async def fails() -> None:
        raise OSError("disk")

    tasks = []
    flow = FlowControl(
        reading, lambda work, name: tasks.append(asyncio.create_task(work)) or tasks[-1]
    )  # type: ignore[arg-type, func-returns-value]
    flow.hold(fails())
    await asyncio.gather(*tasks, return_exceptions=True)
    assert reading.now


async def test_one_pile_is_one_reason() -> None:
    flow, reading = made()
    for waiting in (MAXIMUM_QUEUED, MAXIMUM_QUEUED + 1, MAXIMUM_QUEUED, 0, 0):
        flow.update_backlog(waiting)
    assert reading.now
