"""The short form of `make bench`, with all its peers: that it works, not how fast anything is."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.plan import SHORT
from benchmarks.report import Results, read
from benchmarks.requirements import missing
from benchmarks.samples import Row

CATALOGUES = {"dimse-ingestion, SQLite", "dimse-ingestion, PostgreSQL"}
pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    subprocess.run(
        [sys.executable, "-m", "benchmarks", "--short", "--output", str(folder)],
        check=True,
        timeout=1150,
    )
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return read(folder)


def of_family(results: Results, family: str) -> list[Row]:
    return [row for row in results.rows if row.family == family]


def test_page_and_chart_are_written(folder: Path) -> None:
    assert "## Storing in a folder" in (folder / "table.md").read_text()
    assert "Storing in a folder" in (folder / "chart.svg").read_text()


def test_every_receiver_takes_every_load(results: Results) -> None:
    expected = {
        (str(load), name, load.total)
        for load in SHORT.receiving
        for name in ("dimse-ingestion", "storescp", "pynetdicom")
    }
    rows = of_family(results, "receiving")
    assert {(row.case, row.system, row.operations) for row in rows} == expected


@pytest.mark.parametrize(
    ("family", "systems"),
    [
        ("storing in a folder", ("dimse-ingestion", "dimse-ingestion, spooled", "Orthanc")),
        ("storing in MinIO", ("dimse-ingestion", "MinIO alone")),
    ],
)
def test_every_load_is_stored(results: Results, family: str, systems: tuple[str, ...]) -> None:
    expected = {(str(load), name, load.total) for load in SHORT.storing for name in systems}
    rows = of_family(results, family)
    assert {(row.case, row.system, row.operations) for row in rows} == expected


@pytest.mark.parametrize(
    ("family", "cases", "systems"),
    [
        ("storing over 4 ms there and back", 1, {"dimse-ingestion", "Orthanc"}),
        ("storing compressed", 1, {"not compressed", "zstd"}),
        ("storing compressed over 4 ms there and back and 10MB/s", 1, {"not compressed", "zstd"}),
        ("replicas of ingestion", 1, {"1 replica", "2 replicas"}),
        ("workers of proxy and ingestion", 1, {"1 worker", "2 workers"}),
        ("searching", 4, {*CATALOGUES, "Orthanc"}),
        ("recording events", 2, CATALOGUES),
        ("filling the catalogue", 2, {"dimse-ingestion, PostgreSQL"}),
        ("DICOMweb", 10, {"dimse-ingestion", "Orthanc"}),
        ("limits of the machine", 6, {"one process"}),
    ],
)
def test_every_case_is_measured_at_every_system(
    results: Results, family: str, cases: int, systems: set[str]
) -> None:
    rows = of_family(results, family)

    assert len({row.case for row in rows}) == cases
    assert {(row.case, row.system) for row in rows} == {
        (case, system) for case in {row.case for row in rows} for system in systems
    }


@pytest.mark.parametrize(
    ("family", "operations"),
    [
        ("storing over 4 ms there and back", SHORT.distance[0].total),
        ("replicas of ingestion", SHORT.replicas_load.total),
        ("workers of proxy and ingestion", SHORT.replicas_load.total),
        ("searching", SHORT.queries),
        ("recording events", SHORT.events),
        ("filling the catalogue", SHORT.filling[0]),
    ],
)
def test_every_system_does_equally_much(results: Results, family: str, operations: int) -> None:
    assert {row.operations for row in of_family(results, family)} == {operations}


def test_each_process_of_the_whole_path_is_measured(results: Results) -> None:
    ours = [row for row in of_family(results, "storing in a folder") if row.ratio is not None]
    for row in ours:
        assert set(row.memory_mib) == {"proxy", "ingestion", "catalogue", "NATS"}
        assert set(row.cpu_ms) == {*row.memory_mib, "client"}
        assert min(row.memory_mib.values()) > 1


def test_the_machine_is_described_without_name_and_path(results: Results, folder: Path) -> None:
    machine = results.machine
    assert {"processor", "memory", "kernel", "file system", "Orthanc", "DCMTK"} <= set(machine)
    assert str(Path.cwd()) not in (folder / "results.json").read_text()
