"""Questions between workers, over real sockets."""

import asyncio
from pathlib import Path

import pytest

from dimse_ingestion.workers.siblings import Siblings


def upper(question: bytes) -> bytes:
    return question.upper()


@pytest.mark.parametrize("depth", [1, 12])
async def test_each_other_worker_that_runs_answers(tmp_path: Path, depth: int) -> None:
    folder = tmp_path.joinpath(*["a folder of ten characters"] * depth)
    folder.mkdir(parents=True)
    one, two, three = (Siblings(folder, number, 3) for number in (1, 2, 3))
    async with two.answering("upper", upper), three.answering("upper", lambda _: b"three"):
        assert await one.ask("upper", b"question") == [b"QUESTION", b"three"]
        assert await two.ask("upper", b"question") == [None, b"three"]
        assert await one.ask("other", b"question") == [None, None]
    assert await one.ask("upper", b"question") == [None, None]


async def test_a_single_worker_has_nobody_to_ask(tmp_path: Path) -> None:
    assert await Siblings(tmp_path, 1, 1).ask("upper", b"question") == []


async def test_a_worker_that_was_killed_leaves_its_socket_to_the_next(tmp_path: Path) -> None:
    dead = await asyncio.start_unix_server(lambda _reader, _writer: None, tmp_path / "upper-2")
    dead.close()
    await dead.wait_closed()
    assert (tmp_path / "upper-2").exists()
    one, two = Siblings(tmp_path, 1, 2), Siblings(tmp_path, 2, 2)
    assert await one.ask("upper", b"question") == [None]
    async with two.answering("upper", upper):
        assert await one.ask("upper", b"question") == [b"QUESTION"]


async def test_one_that_does_not_answer_in_time_gives_no_answer(tmp_path: Path) -> None:
    silent = await asyncio.start_unix_server(lambda _reader, _writer: None, tmp_path / "upper-2")
    assert await Siblings(tmp_path, 1, 2, timeout=0.05).ask("upper", b"question") == [None]
    silent.close()


async def test_a_question_of_30_000_numbers_is_answered(tmp_path: Path) -> None:
    one, two = Siblings(tmp_path, 1, 2), Siblings(tmp_path, 2, 2)
    async with two.answering("length", lambda question: str(len(question)).encode()):
        assert await one.ask("length", bytes(240_000)) == [b"240000"]
        assert await one.ask("length", bytes(2**20 + 1)) == [None]
