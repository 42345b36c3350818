"""The order of audit messages against a simulated repository, with a clock that is turned on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.audit.send_order import LONGEST_INTERVAL, LONGEST_PAUSE, SendOrder
from dimse_ingestion.outbox.waiting import Entry, WaitingQueue

BATCH = 256
SENDING = 0.2
"""Seconds of an attempt."""


@dataclass
class Simulation:
    """A queue, its order, and a repository that hangs up at some messages."""

    refused: set[int] = field(default_factory=set)
    is_reached: Callable[[float], bool] = lambda _: True
    hangs_up: Callable[[float], bool] = lambda _: False
    now: float = 0.0
    sent: int = 0
    taken: list[int] = field(default_factory=list)
    attempts: list[float] = field(default_factory=list)
    found: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.queue = WaitingQueue()
        self.order = SendOrder(self.queue, BATCH)

    def add(self, count: int = 1) -> None:
        """Add messages; they are numbered from 1."""
        for _ in range(count):
            self.queue.add(Entry(100, 0.0, Path("audit"), 100))

    def run(self, until: float) -> None:
        """Send until a time, and wait as `Delivery` does."""
        while self.now < until:
            if entries := self.order.take(self.now):
                self._send(entries)
                self.now += SENDING + self.order.pause
            else:
                self.now = min(until, self.queue.next_due() or until)

    def _send(self, entries: list[Entry]) -> None:
        self.attempts.append(self.now)
        numbers = [each.number for each in entries]
        if not self.is_reached(self.now):
            self.order.note_unreached(entries)
            return
        self.sent += len(numbers)
        if self.hangs_up(self.now) or not self.refused.isdisjoint(numbers):
            if self.order.note_not_taken(entries, self.now):
                self.found.update(numbers)
            return
        for entry in entries:
            self.queue.finish(entry)
        self.taken += numbers
        self.order.note_taken(entries)


def others(count: int, refused: Iterable[int]) -> list[int]:
    return [number for number in range(1, count + 1) if number not in set(refused)]


def test_messages_are_taken_in_order_in_batches() -> None:
    simulation = Simulation()
    simulation.add(600)
    simulation.run(1)
    assert simulation.taken == list(range(1, 601))
    assert len(simulation.attempts) == 3


def test_while_the_repository_is_not_reached_the_order_is_kept() -> None:
    simulation = Simulation(is_reached=lambda now: now > 100)
    simulation.add(7)
    simulation.run(100)
    assert simulation.taken == []
    simulation.run(100 + LONGEST_PAUSE + 1)
    assert simulation.taken == list(range(1, 8))
    assert len(simulation.attempts) < 10


@pytest.mark.parametrize(
    ("count", "refused", "longest"),
    [
        (5, {1}, 15),
        (66, {61}, 25),
        (8, {1, 2, 3}, 60),
        (33, {5, 15, 25}, 60),
        (300, {7, 100, 101, 299}, 90),
    ],
)
def test_others_pass_messages_at_which_the_repository_hangs_up(
    count: int, refused: set[int], longest: float
) -> None:
    simulation = Simulation(refused)
    simulation.add(count)
    simulation.run(longest)
    assert sorted(simulation.taken) == others(count, refused)
    assert simulation.sent < 6 * count + 30 * len(refused)


def test_later_messages_are_taken_soon_whatever_was_set_aside() -> None:
    refused = {1, 2, 3, 11, 21, 31, 41, 51, 61, 71}
    simulation = Simulation(refused)
    simulation.add(80)
    simulation.run(600)
    assert sorted(simulation.taken) == others(80, refused)
    assert simulation.found == refused
    for _ in range(20):
        simulation.add()
        simulation.run(simulation.now + 10)
    assert sorted(simulation.taken) == others(100, refused)


def test_a_thousand_refused_messages_leave_time_for_others() -> None:
    refused = set(range(1, 1001))
    simulation = Simulation(refused)
    simulation.add(1000)
    simulation.run(3 * 3600)
    simulation.add(50)
    simulation.run(simulation.now + 120)
    assert sorted(simulation.taken) == list(range(1001, 1051))


def test_a_refused_message_is_sent_again_at_growing_intervals_and_taken_at_last() -> None:
    simulation = Simulation({1})
    simulation.add(2)
    simulation.run(100)
    tried = len(simulation.attempts)
    simulation.run(24 * 3600)
    assert 20 < len(simulation.attempts) - tried < 40
    assert simulation.order.waiting == 0
    assert len(simulation.queue) == 1
    simulation.refused.clear()
    simulation.run(simulation.now + LONGEST_INTERVAL + 1)
    assert simulation.taken == [2, 1]
    assert len(simulation.queue) == 0


def test_after_hours_in_which_it_hangs_up_at_all_of_them_the_order_is_nearly_kept() -> None:
    simulation = Simulation(hangs_up=lambda now: now < 7200)
    simulation.add(100)
    simulation.run(7200)
    assert simulation.taken == []
    assert simulation.found == set()
    simulation.run(7200 + LONGEST_PAUSE + 20)
    assert sorted(simulation.taken) == list(range(1, 101))
    assert simulation.taken[1:] == sorted(simulation.taken[1:])


def test_an_alone_message_at_which_it_hangs_up_is_no_refused_one() -> None:
    simulation = Simulation({1})
    simulation.add()
    simulation.run(3600)
    assert simulation.found == set()
    assert simulation.order.waiting == 1
    assert 50 < len(simulation.attempts) < 80


@given(
    st.integers(1, 300),
    st.sets(st.integers(1, 300), max_size=5),
    st.lists(st.tuples(st.floats(0, 300), st.sampled_from(["unreached", "hangs up"])), max_size=4),
)
def test_nothing_is_lost_or_held_up(
    count: int, refused: set[int], outages: list[tuple[float, str]]
) -> None:
    def during(kind: str) -> Callable[[float], bool]:
        return lambda now: any(begin <= now < begin + 60 for begin, each in outages if each == kind)

    simulation = Simulation(refused, lambda now: not during("unreached")(now), during("hangs up"))
    simulation.add(count)
    simulation.run(360 + 3 * LONGEST_PAUSE + 15 * len(refused))
    assert sorted(simulation.taken) == others(count, refused)
    simulation.refused = set()
    simulation.run(simulation.now + 2 * LONGEST_INTERVAL)
    assert sorted(simulation.taken) == list(range(1, count + 1))
    assert len(simulation.queue) == 0
