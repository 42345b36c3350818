"""Random and changed input at each service, beside a bystander: all is served, nothing is lost.

Not for functions alone, which have tests of their own: what counts here is what a process does, and
whom else it makes wait. `make fuzz SECONDS=600 FUZZ_SEED=1` runs for longer, from that seed.
"""

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nats
import pytest

from harness.services import eventually
from tests.fuzz import dimse_input, http_input, nats_input
from tests.fuzz.mutation import random_of
from tests.fuzz.space import AttackedSpace, Findings, attacked_space, keep_logs, seconds, seed

CORPUS = Path(__file__).parent / "corpus"
SERVERS = {"max_payload": 2**20}
_AT_ONCE = 2
_LATEST_RECOVERY = 60.0

pytestmark = pytest.mark.timeout(0)  # it lasts FUZZ_SECONDS


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackedSpace]:
    with attacked_space(tmp_path_factory.mktemp("fuzz"), dict(SERVERS)) as space:
        yield space


NextIndex = Callable[[], int | None]
Attack = Callable[[AttackedSpace, Findings, NextIndex], None]


def attack_dimse(space: AttackedSpace, findings: Findings, next_index: NextIndex) -> None:
    recorded = corpus("dimse")
    while (index := next_index()) is not None:
        conversation = dimse_input.changed(random_of(findings.seed, "dimse", index), recorded)
        findings.sent(index, b"".join(conversation))
        check_answer(space, findings, dimse_input.play(space.dimse, conversation))


def attack_http(
    address: Callable[[AttackedSpace], tuple[str, int]], service: str, *, outside: bool
) -> Attack:
    def attack(space: AttackedSpace, findings: Findings, next_index: NextIndex) -> None:
        recorded = corpus(service)
        while (index := next_index()) is not None:
            wire = http_input.changed(random_of(findings.seed, service, index), recorded)
            findings.sent(index, wire)
            answer = http_input.play(address(space), wire)
            if answer.status >= 500 and answer.status != 503:
                findings.add(f"{wire[:300]!r} is answered {answer.status}")
            if outside:
                check_answer(space, findings, answer.content)

    return attack


def attack_nats(space: AttackedSpace, findings: Findings, next_index: NextIndex) -> None:
    asyncio.run(_attack_nats(space, findings, next_index))


async def _attack_nats(space: AttackedSpace, findings: Findings, next_index: NextIndex) -> None:
    recorded = corpus("nats")
    async with await nats.connect(space.nats.url) as client:
        while (index := next_index()) is not None:
            session = nats_input.changed(random_of(findings.seed, "nats", index), recorded)
            findings.sent(index, nats_input.saved(session))
            await nats_input.play(client, session, index)


def check_answer(space: AttackedSpace, findings: Findings, content: bytes) -> None:
    for secret in space.secrets:
        if secret in content:
            findings.add(f"answered an inside address: {content[:500]!r}")


ATTACKS: dict[str, Attack] = {
    "dimse": attack_dimse,
    "dicomweb": attack_http(lambda space: space.dicomweb, "dicomweb", outside=True),
    "catalogue": attack_http(lambda space: space.catalogue, "catalogue", outside=False),
    "nats": attack_nats,
}


@pytest.mark.parametrize("service", ATTACKS)
def test_whatever_comes_all_are_served_and_nothing_is_lost(
    attacked: AttackedSpace, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = Findings(seed(), service)
    began = time.monotonic()
    sent = _attack(attacked, ATTACKS[service], findings)
    with capsys.disabled():
        sys.stdout.write(f"{service}: {sent} inputs, {_latencies(attacked, began)} ")
    _check_processes(attacked, findings)
    for each in attacked.held_up(began):
        findings.add(
            f"the bystander's {each.name} took {each.seconds:.2f} s: {each.problem or 'slow'}"
        )
    _check_recovery(attacked, findings)
    if findings.sentences:
        keep_logs(attacked, findings.folder)
        pytest.fail(findings.text(), pytrace=False)


def _attack(attacked: AttackedSpace, attack: Attack, findings: Findings) -> int:
    """Attack until the time is over, and return how many inputs were sent."""
    deadline, numbers = time.monotonic() + seconds(), itertools.count()

    def next_index() -> int | None:
        return next(numbers) if time.monotonic() < deadline and not attacked.ended() else None

    stop = threading.Event()
    with ThreadPoolExecutor(_AT_ONCE + 1) as threads:
        bystanding = threads.submit(attacked.bystander.until, stop)
        attackers = [
            threads.submit(attack, attacked, findings, next_index) for _ in range(_AT_ONCE)
        ]
        try:
            while not all(each.done() for each in attackers):
                _check_processes(attacked, findings)
                stop.wait(0.5)
        finally:
            stop.set()
        for each in (*attackers, bystanding):
            each.result()
    return next(numbers)


def _latencies(attacked: AttackedSpace, since: float) -> str:
    measured = sorted(each.seconds for each in attacked.bystander.measured if each.began >= since)
    if not measured:
        return "no bystander"
    return f"bystander {measured[len(measured) // 2]:.3f} s, at most {measured[-1]:.3f} s"


def _check_processes(attacked: AttackedSpace, findings: Findings) -> None:
    for sentence in (*attacked.ended(), *attacked.new_tracebacks()):
        findings.add(sentence)


def _check_recovery(attacked: AttackedSpace, findings: Findings) -> None:
    """Assert that everything is served, memory was bounded, and acknowledged data is stored."""
    try:
        eventually(
            lambda: [each for each in attacked.bystander.once() if each.problem],
            lambda problems: not problems,
            _LATEST_RECOVERY,
        )
    except AssertionError as never:
        findings.add(f"not served afterwards: {never}")
        return
    for sentence in (*attacked.heavy(), *attacked.bystander.missing()):
        findings.add(sentence)
