"""The order of audit messages against a simulated repository, with a clock that is turned on."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.audit.send_order import LONGEST_PAUSE, REFUSED_INTERVAL, SendOrder
from dimse_ingestion.outbox.waiting import Entry, WaitingQueue

BATCH = 256
SENDING = 0.2
"""Seconds of an attempt."""
HOUR = 3600.0
State = Callable[[float], bool]


@dataclass
class Simulation:
    """A queue, its order, and a repository that hangs up at some messages."""

    refused: set[int] = field(default_factory=set)
    is_reached: State = lambda _: True
    hangs_up: State = lambda _: False
    now: float = 0.0
    attempts: list[float] = field(default_factory=list)
    sent: Counter[int] = field(default_factory=Counter)
    taken: dict[int, float] = field(default_factory=dict)
    """When each message was taken, in order."""
    found: set[int] = field(default_factory=set)
    added: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = WaitingQueue()
        self.order = SendOrder(self.queue, BATCH)

    def add(self, count: int = 1) -> None:
        """Add messages; they are numbered from 1."""
        for _ in range(count):
            entry = Entry(100, 0.0, Path("audit"), 100)
            self.queue.add(entry)
            self.added[entry.number] = self.now

    def run(self, until: float) -> None:
        """Send until a time, and wait as `Delivery` does."""
        while self.now < until:
            if entries := self.order.take(self.now):
                self._send(entries)
                self.now += SENDING + self.order.pause
            else:
                due = self.order.next_due()
                self.now = until if due is None else max(self.now, min(until, due))

    def run_with_arrivals(self, until: float, interval: float) -> None:
        """Send until a time, with a new message at each interval."""
        while self.now < until:
            self.add()
            self.run(self.now + interval)

    @property
    def healthy(self) -> list[int]:
        return [number for number in self.added if number not in self.refused]

    def longest_wait(self) -> float:
        """Return the longest time until a message that is not refused was taken, in seconds."""
        return max(self.taken.get(each, self.now) - self.added[each] for each in self.healthy)

    def _send(self, entries: list[Entry]) -> None:
        self.attempts.append(self.now)
        numbers = [each.number for each in entries]
        if not self.is_reached(self.now):
            self.order.note_unreached(entries)
            return
        self.sent.update(numbers)
        if self.hangs_up(self.now) or not self.refused.isdisjoint(numbers):
            if self.order.note_not_taken(entries, self.now):
                self.found.update(numbers)
            return
        for entry in entries:
            self.queue.finish(entry)
            self.taken[entry.number] = self.now
        self.order.note_taken(entries, self.now)


def before(end: float) -> State:
    return lambda now: now < end


def every(interval: float, of: float) -> State:
    """True except in the first `of` seconds of each interval."""
    return lambda now: now % interval >= of


def test_messages_are_taken_in_order_in_batches() -> None:
    simulation = Simulation()
    simulation.add(600)
    simulation.run(1)
    assert list(simulation.taken) == list(range(1, 601))
    assert len(simulation.attempts) == 3


def test_while_the_repository_is_not_reached_the_order_is_kept() -> None:
    simulation = Simulation(is_reached=lambda now: now > 2 * HOUR)
    simulation.add(5000)
    simulation.run(2 * HOUR)
    assert simulation.taken == {}
    assert len(simulation.attempts) < 150
    simulation.run(2 * HOUR + LONGEST_PAUSE + 30)
    assert list(simulation.taken) == list(range(1, 5001))
    assert max(simulation.sent.values()) == 1


@pytest.mark.parametrize(
    ("count", "refused", "longest"),
    [
        (5, {1}, 3),
        (66, {61}, 8),
        (8, {1, 2, 3}, 5),
        (33, {5, 15, 25}, 10),
        (300, {7, 100, 101, 299}, 15),
        (60, set(range(1, 51)), 60),
        (400, set(range(1, 301)), 200),
        (5000, set(range(1, 5001, 500)), 90),
    ],
)
def test_others_pass_messages_at_which_the_repository_hangs_up(
    count: int, refused: set[int], longest: float
) -> None:
    simulation = Simulation(refused)
    simulation.add(count)
    simulation.run(1000)
    assert sorted(simulation.taken) == simulation.healthy
    assert simulation.longest_wait() < longest
    assert sum(simulation.sent[each] for each in simulation.healthy) < 5 * count
    assert simulation.found <= refused


@pytest.mark.parametrize(("refused", "longest"), [(1, 5), (6, 5), (100, 10), (1000, 600)])
def test_later_messages_are_taken_soon_whatever_was_refused(refused: int, longest: float) -> None:
    simulation = Simulation(set(range(1, refused + 1)))
    simulation.add(refused)
    simulation.run(3 * HOUR)
    simulation.run_with_arrivals(simulation.now + 600, 10)
    simulation.run(simulation.now + LONGEST_PAUSE)
    assert sorted(simulation.taken) == simulation.healthy
    assert simulation.longest_wait() < LONGEST_PAUSE + 5
    simulation.add(20)
    simulation.run(simulation.now + longest)
    assert sorted(simulation.taken) == simulation.healthy


def test_refused_messages_are_sent_again_one_each_minute_and_taken_at_last() -> None:
    simulation = Simulation({1, 2, 3})
    simulation.add(4)
    simulation.run(HOUR)
    assert simulation.found == {1, 2, 3}
    assert simulation.order.waiting == 0
    assert len(simulation.queue) == 3
    assert min(simulation.sent[each] for each in (1, 2, 3)) >= 15
    assert len(simulation.attempts) < HOUR / REFUSED_INTERVAL + 15
    simulation.refused.clear()
    simulation.run(simulation.now + REFUSED_INTERVAL + 5)
    assert sorted(simulation.taken) == [1, 2, 3, 4]
    assert simulation.order.waiting == 0


@pytest.mark.parametrize("count", [1, 10, 1000, 5000])
@pytest.mark.parametrize("outage", [60, 8 * HOUR])
def test_after_an_outage_in_which_it_hangs_up_at_once_all_are_taken_soon(
    count: int, outage: float
) -> None:
    simulation = Simulation(hangs_up=before(outage))
    simulation.add(count)
    simulation.run(outage)
    assert simulation.taken == {}
    assert simulation.found == set()
    assert len(simulation.attempts) < 60 + outage / LONGEST_PAUSE * 1.1
    simulation.run(outage + LONGEST_PAUSE + 30)
    assert sorted(simulation.taken) == simulation.healthy
    assert simulation.found == set()


def test_after_an_outage_healthy_ones_pass_the_refused_ones_too() -> None:
    simulation = Simulation(set(range(1, 7)), hangs_up=before(600))
    simulation.add(20)
    simulation.run(600 + LONGEST_PAUSE + 20)
    assert sorted(simulation.taken) == simulation.healthy
    assert simulation.found == simulation.refused


def test_two_outages_refuse_no_healthy_message() -> None:
    simulation = Simulation(hangs_up=lambda now: now < 300 or 306 < now < 900)
    simulation.add(100)
    simulation.run(900 + LONGEST_PAUSE + 20)
    assert sorted(simulation.taken) == simulation.healthy
    assert len(simulation.found) < 3


@pytest.mark.parametrize("interval", [20, 60])
def test_a_repository_that_is_up_now_and_then_gets_all_of_them(interval: float) -> None:
    simulation = Simulation(hangs_up=every(interval + 0.7, 3))
    simulation.run_with_arrivals(HOUR, 5)
    simulation.run(2.5 * HOUR)
    assert sorted(simulation.taken) == simulation.healthy


@pytest.mark.parametrize(
    ("interval", "one_of"), [(1.0, 10), (1.0, 100), (0.1, 100), (0.1, 1000), (10.0, 2)]
)
def test_a_steady_stream_with_refused_messages_is_taken(interval: float, one_of: int) -> None:
    count = int(HOUR / 4 / interval)
    simulation = Simulation(set(range(1, count + 1, one_of)))
    simulation.run_with_arrivals(HOUR / 4, interval)
    simulation.run(simulation.now + 20)
    assert sorted(simulation.taken) == simulation.healthy
    assert simulation.longest_wait() < 25
    assert simulation.found >= {
        each for each in simulation.refused if each < 0.9 * len(simulation.added)
    }


def test_a_message_alone_at_which_it_hangs_up_is_not_refused() -> None:
    simulation = Simulation({1})
    simulation.add()
    simulation.run(HOUR)
    assert simulation.found == set()
    assert simulation.order.is_doubtful
    assert 50 < len(simulation.attempts) < 80


@given(
    st.integers(1, 300),
    st.sets(st.integers(1, 300), max_size=5),
    st.lists(st.tuples(st.floats(0, 300), st.sampled_from(["unreached", "hangs up"])), max_size=4),
)
def test_nothing_is_lost_or_held_up(
    count: int, refused: Iterable[int], outages: list[tuple[float, str]]
) -> None:
    def during(kind: str) -> State:
        begins = [begin for begin, each in outages if each == kind]
        return lambda now: any(begin <= now < begin + 60 for begin in begins)

    is_away = during("unreached")
    simulation = Simulation(set(refused), lambda now: not is_away(now), during("hangs up"))
    simulation.add(count)
    simulation.run(360 + 2 * LONGEST_PAUSE + 10 * len(simulation.refused))
    assert set(simulation.taken) >= set(simulation.healthy) - simulation.found
    simulation.refused = set()
    simulation.run(simulation.now + 10 * REFUSED_INTERVAL)
    assert sorted(simulation.taken) == list(range(1, count + 1))
    assert len(simulation.queue) == 0
