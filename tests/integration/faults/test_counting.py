"""`make faults` counts what is lost, wrong or doubled: shown on a system that lost something."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from faults import tally
from faults.__main__ import run
from faults.fault import problem
from faults.load import Load
from faults.scenarios import FAULTS
from faults.system import Deployment, System, open_system
from harness import scu
from harness.instances import MadeInstance, made_instances

LOST_ANSWER = "response to an event lost"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Load]]:
    folder = tmp_path_factory.mktemp("faults")
    with open_system(folder, Deployment()) as system:
        made = made_instances(folder / "made", 3, 1024)
        answers = scu.store(system.peer, [each.path for each in made])
        assert [each.status for each in answers] == [0, 0, 0]
        load = Load(system.peer, folder, {each.path: each for each in made})
        load.statuses.update([0, 0, 0, 0xA700, -1])
        yield system, load


@pytest.fixture
def objects(stored: tuple[System, Load]) -> Iterator[list[Path]]:
    """Yield the objects in the bucket, and write them again after the test."""
    paths = sorted(stored[0].space.bucket.rglob("*.dcm"))
    contents = [path.read_bytes() for path in paths]
    yield paths
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)


def test_a_whole_system_is_clean(stored: tuple[System, Load]) -> None:
    counted = tally.count(*stored, recovery=1.0)
    assert counted.is_clean
    assert (counted.operations, counted.acknowledged) == (5, 3)
    assert counted.refused == {"none": 1, "A700": 1}
    assert tally.missing(stored[0], stored[1].acknowledged.values()) == 0


def test_an_object_that_is_gone_is_lost(stored: tuple[System, Load], objects: list[Path]) -> None:
    objects[0].unlink()
    counted = tally.count(*stored, recovery=0)
    assert (counted.lost, counted.wrong, counted.doubled) == (1, 0, 0)


def test_an_object_with_another_byte_is_wrong(
    stored: tuple[System, Load], objects: list[Path]
) -> None:
    content = objects[1].read_bytes()
    objects[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    counted = tally.count(*stored, recovery=0)
    assert (counted.lost, counted.wrong, counted.doubled) == (0, 1, 0)


def test_an_instance_that_was_never_stored_is_lost(
    stored: tuple[System, Load], tmp_path: Path
) -> None:
    system, load = stored
    never: MadeInstance = made_instances(tmp_path, 1, 16)[0]
    counted = tally.count(
        system, Load(load.peer, tmp_path, load.acknowledged | {never.path: never}), recovery=0
    )
    assert (counted.lost, counted.acknowledged) == (1, 4)
    assert tally.missing(system, [never]) == 1


def test_a_second_object_of_an_instance_is_doubled(stored: tuple[System, Load]) -> None:
    system, load = stored
    with closing(sqlite3.connect(system.space.folder / "catalogue.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(objects)")]
        others = {"id": "NULL", "object_name": "'another'"}
        copied = ", ".join(others.get(column, f'"{column}"') for column in columns)
        database.execute(f"INSERT INTO objects SELECT {copied} FROM objects LIMIT 1")
        database.commit()
        counted = tally.count(system, load, recovery=0)
        database.execute("DELETE FROM objects WHERE object_name = 'another'")
        database.commit()
    assert (counted.lost, counted.wrong, counted.doubled) == (0, 0, 1)


def test_a_fault_under_load_is_run_and_counted() -> None:
    (fault,) = (each for each in FAULTS if each.name == LOST_ANSWER)
    row = run(fault, "stored")
    assert row.tally is not None, row.problem
    assert row.is_clean
    assert row.tally.acknowledged > 4
    assert row.tally.operations >= row.tally.acknowledged


def test_each_fault_has_a_name_of_its_own() -> None:
    assert len({each.name for each in FAULTS}) == len(FAULTS)
    assert [each.name for each in FAULTS if problem(each) and not each.needs_root] == []
