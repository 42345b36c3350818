"""Two storage spaces on one port of a proxy: two buckets, and one that is flooded or away."""

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from harness import modalities, scu
from harness.instances import data_set_in, made_instances
from harness.modalities import Peer
from harness.nats_server import NatsServer, nats_server
from harness.services import ServiceProcess, StorageSpace, eventually

pytestmark = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())
TITLES = ("RADIOLOGY", "CARDIOLOGY")
ASSOCIATIONS = 8  # of the proxy, half of them for each space
SMALL, LARGE = 64 * 2**10, 2 * 2**20
MEASURED = 40
MOST = {True: 3, False: 10}
"""The flooded space's work costs CPU time that the other's waits for, unless it is stuck."""
VERIFICATION = [(scu.VERIFICATION, None)]


@dataclass
class TwoSpaces:
    """The services of two storage spaces, and their only proxy."""

    spaces: dict[str, StorageSpace]
    ingestion: dict[str, ServiceProcess]
    proxy: ServiceProcess
    port: int

    def peer(self, title: str) -> Peer:
        return Peer("127.0.0.1", self.port, called=title)

    def objects(self, title: str) -> list[Path]:
        return list(self.spaces[title].bucket.rglob("*.dcm"))


def started(folder: Path, nats: NatsServer) -> TwoSpaces:
    spaces = {title: StorageSpace(folder / title, nats.url, subject_root=title) for title in TITLES}
    entries = [f"{{aeTitle: {title}, natsSubjectRoot: {title}}}" for title in TITLES]
    first = spaces[TITLES[0]]
    first.extra = {
        "DIMSE_SPACES": f"[{', '.join(entries)}]",
        "DIMSE_MAXIMUM_ASSOCIATIONS": str(ASSOCIATIONS),
        "DIMSE_SPOOL_MEMORY_IN_ALL": "16Mi",
    }
    proxy = first.proxy()
    first.extra = {}
    services = [proxy.start()]
    ingestion = {}
    for title, space in spaces.items():
        services.append(space.catalogue().start())
        ingestion[title] = space.ingestion().start()
    try:
        for service in (*services, *ingestion.values()):
            service.ready()
    except BaseException:
        for space in spaces.values():
            space.close()
        raise
    return TwoSpaces(spaces, ingestion, proxy, first.dimse_port)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoSpaces]:
    with nats_server(tmp_path / "nats") as nats:
        started_spaces = started(tmp_path, nats)
        eventually(started_spaces.proxy.readiness, lambda value: value == (200, "ready\n"))
        yield started_spaces
        for space in started_spaces.spaces.values():
            space.close()


def test_prove_tests_each_space(two: TwoSpaces, tmp_path: Path) -> None:
    steps = ["proxy", "C-ECHO", "C-STORE", "C-FIND at STUDY", "C-FIND at IMAGE"]
    environment = {"PATH": os.environ["PATH"], **two.proxy.environment, "DIMSE_PROXY_ID": "prover"}
    ended = proved(environment, "--wait", "30")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    expected = [f"ok {title}, {step}" for title in TITLES for step in steps]
    assert [
        re.sub(r"\s+", " ", line).split(":")[0] for line in ended.stdout.splitlines()
    ] == expected
    assert [len(two.objects(title)) for title in TITLES] == [1, 1]
    to = ["--to", f"127.0.0.1:{two.port}"]
    called = [part for title in TITLES for part in ("--called", title)]
    ended = proved(environment, *to, *called)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [len(two.objects(title)) for title in TITLES] == [2, 2]
    two.ingestion["RADIOLOGY"].kill()
    ended = proved(environment, "--wait", "10")
    assert ended.returncode == 1
    first, *others = (re.sub(r"\s+", " ", line) for line in ended.stdout.splitlines())
    assert first.startswith("wrong space RADIOLOGY: path: No "), first
    assert len(others) == len(steps)
    assert all(line.startswith("ok CARDIOLOGY, ") for line in others)


def proved(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dimse_ingestion", "prove", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def median_latency(two: TwoSpaces, title: str, folder: Path) -> float:
    """Return the median of the seconds of some C-STOREs on one association."""
    files = [dcmread(each.path) for each in made_instances(folder, MEASURED, SMALL)]
    context = [(str(files[0].SOPClassUID), str(files[0].file_meta.TransferSyntaxUID))]
    seconds = []
    with scu.associate(two.peer(title), context) as association:
        for file in files:
            begin = time.perf_counter()
            assert association.send_c_store(file).Status == 0
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


@contextmanager
def flood(two: TwoSpaces, title: str, folder: Path) -> Iterator[None]:
    """Send new instances within the block, on more associations than the space may have."""
    files = [each.path for each in made_instances(folder, 4, LARGE)]
    options = ("--repeat", "100000", "+II", "--no-halt")
    command = modalities.command("storescu", two.peer(title), options, files)
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(ASSOCIATIONS)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def associations(two: TwoSpaces, title: str) -> int:
    _, shown = two.proxy.get("/metrics")
    name = f'dimse_proxy_associations{{space="{title}"}} '
    return next(int(float(line.split()[1])) for line in shown.splitlines() if line.startswith(name))


def test_instances_reach_the_bucket_of_the_called_ae_title(two: TwoSpaces, tmp_path: Path) -> None:
    for title in TITLES:
        sent = made_instances(tmp_path / "sent" / title, 3, SMALL)
        answers = scu.store(two.peer(title), [each.path for each in sent])
        assert [answer.status for answer in answers] == [0, 0, 0]
        stored = {path.read_bytes()[-each.size :] for each in sent for path in two.objects(title)}
        assert stored == {data_set_in(each.path.read_bytes()) for each in sent}
    with pytest.raises(ConnectionError), scu.associate(two.peer("ONCOLOGY"), VERIFICATION):
        pass


@pytest.mark.parametrize("is_away", [False, True], ids=["busy", "away"])
def test_a_flood_of_one_space_leaves_the_latency_of_the_other(
    two: TwoSpaces, tmp_path: Path, is_away: bool
) -> None:
    """Whatever else the machine does slows down some parts: the best one of the flood counts."""
    flooded, other = TITLES
    median_latency(two, other, tmp_path / "warm")
    before = median_latency(two, other, tmp_path / "before")
    if is_away:
        os.kill(two.ingestion[flooded].pid, signal.SIGSTOP)
    with flood(two, flooded, tmp_path / "flood"):
        eventually(lambda: associations(two, flooded), lambda count: count == ASSOCIATIONS // 2)
        during = [median_latency(two, other, tmp_path / f"during {part}") for part in range(3)]
        assert associations(two, flooded) <= ASSOCIATIONS // 2
    eventually(lambda: associations(two, flooded), lambda count: not count)
    after = median_latency(two, other, tmp_path / "after")
    assert min(during) / max(before, after) < MOST[is_away]


def test_readiness_names_the_space_that_is_away_and_stays_200(two: TwoSpaces) -> None:
    two.ingestion[TITLES[0]].kill()
    status, text = eventually(
        two.proxy.readiness, lambda value: f"space {TITLES[0]}:" in value[1], 90
    )
    assert status == 200
    assert text.startswith("ready\n")
    assert f"space {TITLES[1]}" not in text
