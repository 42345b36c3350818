"""Readiness and liveness of all workers together: the service is ready when every worker is."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from dimse_ingestion.workers.channel import HEALTH, PING, WorkerGone
from dimse_ingestion.workers.process import WorkerProcess


async def all_health(workers: Sequence[WorkerProcess]) -> Mapping[str, str]:
    """Return the problems of all workers by the names of their checks.

    A sentence that is not every worker's names those it is from.
    """
    return _together(workers, await asyncio.gather(*(_problems(worker) for worker in workers)))


async def all_notes(workers: Sequence[WorkerProcess]) -> Mapping[str, str]:
    """Return the notes of all workers that answer, in the same form."""
    return _together(workers, await asyncio.gather(*(_notes(worker) for worker in workers)))


def _together(
    workers: Sequence[WorkerProcess], found: Sequence[Mapping[str, str]]
) -> Mapping[str, str]:
    by_sentence: dict[tuple[str, str], list[int]] = defaultdict(list)
    for worker, problems in zip(workers, found, strict=True):
        for name, sentence in problems.items():
            by_sentence[name, sentence].append(worker.number)
    result: dict[str, str] = {}
    for (name, sentence), numbers in by_sentence.items():
        of_all = len(numbers) == len(workers)
        key = name if of_all else f"{name} (worker {', '.join(map(str, numbers))})"
        result[key] = f"{result[key]} {sentence}" if key in result else sentence
    return result


async def hanging(workers: Sequence[WorkerProcess]) -> str:
    """Return a sentence about workers whose event loop does not run; empty if all answer."""
    found = await asyncio.gather(*(_is_hanging(worker) for worker in workers))
    numbers = [str(each.number) for each, hangs in zip(workers, found, strict=True) if hangs]
    return f"Worker {', '.join(numbers)} does not answer." if numbers else ""


async def _problems(worker: WorkerProcess) -> Mapping[str, str]:
    if not worker.is_running:
        return {"worker": "; ".join(worker.mistake) or "The process is starting."}
    try:
        answer = await worker.request(HEALTH)
    except WorkerGone:
        return {"worker": "The process does not answer."}
    problems: Mapping[str, str] = answer.get("problems", {})
    return problems


async def _notes(worker: WorkerProcess) -> Mapping[str, str]:
    try:
        answer = await worker.request(HEALTH)
    except WorkerGone:
        return {}
    notes: Mapping[str, str] = answer.get("notes", {})
    return notes


async def _is_hanging(worker: WorkerProcess) -> bool:
    try:
        await worker.request(PING)
    except WorkerGone:
        return worker.is_running
    return False
