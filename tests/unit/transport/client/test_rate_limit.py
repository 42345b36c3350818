"""The token bucket with a clock that the tests move."""

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from dimse_ingestion.transport.client.rate_limit import SMALLEST_PIECE, RateLimiter

SPACE = "rate-limit-test"


@dataclass
class Line:
    """Senders that ask as often as the limiter tells them to; records what is sent when."""

    rate: float | None = 1000.0
    now: float = 0.0
    sent: list[tuple[float, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limiter = RateLimiter(lambda: self.rate, SPACE)

    def run(self, until: float, *, sizes: dict[str, int]) -> None:
        """Let each sender send pieces of its size as fast as it may."""
        due = dict.fromkeys(sizes, self.now)
        while due and min(due.values()) < until:
            name = min(due, key=lambda each: due[each])
            self.now = due[name]
            pause = self.limiter.take(name, sizes[name], self.now)
            if not pause:
                self.sent.append((self.now, name, sizes[name]))
            due[name] = self.now + pause
            if self.rate is None:
                break

    def octets(self, name: str = "", since: float = 0.0) -> int:
        return sum(size for when, who, size in self.sent if name in ("", who) and when >= since)


@pytest.mark.parametrize("size", [10, 100, 500, 5000])
def test_the_rate_is_kept_whatever_a_piece_has(size: int) -> None:
    line = Line()
    line.run(100, sizes={"a": size})
    assert line.octets() == pytest.approx(100_000, abs=100 + size)


def test_never_more_than_the_rate_and_a_piece_in_any_second() -> None:
    line = Line()
    line.run(20, sizes={"a": 70, "b": 130})
    for start, _, _ in line.sent:
        within = [size for when, _, size in line.sent if start <= when < start + 1]
        assert sum(within) <= 1000 + 100 + 130


def test_senders_get_the_same_number_of_pieces() -> None:
    line = Line()
    line.run(100, sizes={"a": 100, "b": 100, "c": 100, "d": 100})
    shares = [line.octets(name) for name in "abcd"]
    assert max(shares) <= 1.02 * min(shares)


def test_a_sender_that_waits_is_not_passed_by_a_later_one() -> None:
    line = Line()
    assert line.limiter.take("a", 1000, 0.0) == 0
    assert line.limiter.take("b", 1000, 0.0) > 0
    assert line.limiter.take("c", 10, 0.9) > 0  # the debt is paid, but b is the next
    assert line.limiter.take("b", 1000, 0.9) == 0


def test_a_sender_that_gives_up_holds_up_nobody() -> None:
    line = Line()
    line.limiter.take("a", 1000, 0.0)
    line.limiter.take("b", 1000, 0.0)
    line.limiter.forget("b")
    assert line.limiter.take("c", 10, 1.0) == 0
    line.limiter.forget("nobody")


def test_a_pause_ends_when_the_debt_of_the_earlier_ones_is_paid() -> None:
    line = Line(rate=10_000)
    line.limiter.take("a", 3000, 0.0)  # 1000 were saved up
    assert line.limiter.take("b", 2000, 0.0) == pytest.approx(0.2)
    assert line.limiter.take("c", 1000, 0.0) == pytest.approx(0.4)


def test_a_pause_is_short_enough_to_notice_another_rate() -> None:
    line = Line(rate=1.0)
    line.limiter.take("a", 1000, 0.0)
    assert line.limiter.take("b", 1000, 0.0) == 1.0
    line.rate = None
    assert line.limiter.take("b", 1000, 1.0) == 0
    line.rate = 1.0
    assert line.limiter.take("a", 1000, 1.0) == 0  # the debt of the former limit is gone


def test_a_lower_rate_counts_at_once() -> None:
    line = Line(rate=10_000)
    line.run(10, sizes={"a": 100})
    line.rate = 1000
    line.run(110, sizes={"a": 100})
    assert line.octets(since=10) == pytest.approx(100_000, rel=0.02)


def test_an_unused_rate_is_not_saved_up_for_long() -> None:
    line = Line()
    line.run(0.5, sizes={"a": 10})
    line.now = 1000.0
    before = line.octets()
    line.run(1001.0, sizes={"a": 10})
    assert line.octets() - before <= 1000 + 100 + 10


def test_pieces_are_short_at_a_low_rate_and_whole_without_a_limit() -> None:
    line = Line(rate=None)
    assert line.limiter.largest_piece(512 * 1024) == 512 * 1024
    assert line.limiter.largest_open(1024 * 1024) == 1024 * 1024
    line.rate = 1_600_000
    assert line.limiter.largest_piece(512 * 1024) == 200_000
    assert line.limiter.largest_open(1024 * 1024) == 1024 * 1024
    line.rate = 10_000
    assert line.limiter.largest_piece(512 * 1024) == SMALLEST_PIECE
    assert line.limiter.largest_open(1024 * 1024) == SMALLEST_PIECE


def test_what_is_sent_is_counted() -> None:
    def value(name: str) -> float:
        return REGISTRY.get_sample_value(name, {"space": SPACE}) or 0.0

    line = Line()
    before = value("dimse_transport_sent_bytes_total")
    line.run(10, sizes={"a": 100})
    assert value("dimse_transport_sent_bytes_total") - before == line.octets()
    waited = value("dimse_transport_rate_limit_wait_seconds_total")
    line.limiter.count_wait(2.5)
    assert value("dimse_transport_rate_limit_wait_seconds_total") - waited == 2.5


@example(sizes=[1, 1], rate=2012.0, seconds=19.0)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    rate=st.floats(100, 100_000),
    seconds=st.floats(1, 30),
)
def test_the_rate_is_kept_and_used(sizes: list[int], rate: float, seconds: float) -> None:
    line = Line(rate=rate)
    line.run(seconds, sizes={str(number): size for number, size in enumerate(sizes)})
    most = rate * (seconds + 0.1) + max(sizes)
    assert line.octets() <= most + 1
    assert line.octets() >= rate * (seconds - 0.01) - max(sizes)
