from collections.abc import Mapping
from typing import Any, cast

from dimse_ingestion.workers.channel import WorkerGone
from dimse_ingestion.workers.health import all_health, all_notes, hanging
from dimse_ingestion.workers.process import WorkerProcess


class FakeWorker:
    """A worker with these problems; none at all: it does not answer."""

    def __init__(self, number: int, problems: Mapping[str, str] | None, running: bool) -> None:
        self.number = number
        self.is_running = running
        self.mistake: tuple[str, ...] = ()
        self._problems = problems

    async def request(self, kind: bytes) -> Mapping[str, Any]:
        if self._problems is None:
            raise WorkerGone
        return {"problems": self._problems, "notes": self._problems}


def workers(*problems: Mapping[str, str] | None, running: bool = True) -> list[WorkerProcess]:
    made = [FakeWorker(n, each, running) for n, each in enumerate(problems, start=1)]
    return cast("list[WorkerProcess]", made)


async def test_workers_are_ready_together() -> None:
    assert await all_health(workers({}, {})) == {}


async def test_a_problem_of_one_worker_names_it_and_one_of_all_does_not() -> None:
    nats = {"nats": "NATS refuses."}
    found = await all_health(workers({**nats, "spool": "It is full."}, nats, nats))
    assert found == {"nats": "NATS refuses.", "spool (worker 1)": "It is full."}


async def test_different_sentences_of_one_check_are_both_given() -> None:
    found = await all_health(workers({"nats": "A."}, {"nats": "B."}, {"nats": "A."}))
    assert found == {"nats (worker 1, 3)": "A.", "nats (worker 2)": "B."}


async def test_a_worker_that_starts_or_hangs_is_not_ready() -> None:
    assert await all_health(workers({}, None)) == {
        "worker (worker 2)": "The process does not answer."
    }
    assert await all_health(workers({}, {}, running=False)) == {
        "worker": "The process is starting."
    }


async def test_notes_are_those_of_the_workers_that_answer() -> None:
    space = {"space RADIOLOGY": "path: The bucket is not reached."}
    assert await all_notes(workers(space, space)) == space
    assert await all_notes(workers(space, None)) == {
        "space RADIOLOGY (worker 1)": "path: The bucket is not reached."
    }


async def test_liveness_fails_for_a_worker_that_hangs_and_not_for_one_that_starts() -> None:
    assert await hanging(workers({}, {})) == ""
    assert await hanging(workers({}, None, None)) == "Worker 2, 3 does not answer."
    assert await hanging(workers(None, running=False)) == ""
