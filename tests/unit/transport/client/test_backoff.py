import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.transport.client.backoff import RetryBudget
from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.messages import StoreResult
from dimse_ingestion.transport.protocol.state import NO_ANSWER, AttemptFailed
from dimse_ingestion.transport.protocol.timeouts import Timeouts

TIMES = Timeouts(first_backoff=1.0, max_backoff=4.0, open_budget=10.0)
NOBODY = AttemptFailed("No replica is subscribed", replica_answered=False)
SILENT = AttemptFailed(NO_ANSWER, replica_answered=False)
FAILED = Result(store=StoreResult(status=0xA700, transient=True))


def budget(random: float = 1.0, deadline: float = 50.0) -> RetryBudget:
    return RetryBudget(TIMES, 0.0, deadline, lambda: random)


def test_pauses_grow_to_a_limit() -> None:
    one = budget()
    assert [one.pause(FAILED, 0.0) for _ in range(5)] == [1, 2, 4, 4, 4]


def test_pauses_are_jittered_by_half() -> None:
    assert budget(random=0.0).pause(FAILED, 0.0) == 0.5


def test_a_replica_may_ask_for_more() -> None:
    assert budget().pause(AttemptFailed("busy", retry_after=3.0), 0.0) == 4.0


def test_nobody_reached_for_the_open_budget_ends_it() -> None:
    one = budget()
    assert one.pause(NOBODY, 8.9) == 1.0
    assert one.pause(NOBODY, 10.0) is None
    assert one.reason.startswith("No replica is subscribed: start the ingestion service")


def test_silence_of_all_replicas_for_the_open_budget_ends_it() -> None:
    one = budget()
    assert one.pause(SILENT, 8.9) == 1.0
    assert one.pause(SILENT, 10.0) is None
    assert one.reason.startswith("No replica of the ingestion service answered for 10 s: see")


def test_silence_of_one_replica_does_not_end_it_while_another_one_answers() -> None:
    one = budget()
    assert [one.pause(SILENT, now, now - 5.0) for now in (10.0, 20.0, 40.0)] == [1, 1, 1]
    assert one.pause(SILENT, 49.9, 49.0) is None
    assert one.reason.startswith("Replicas of the ingestion service answer, but none took this")


def test_a_failure_that_a_replica_reports_lengthens_the_pauses_after_a_silence() -> None:
    one = budget()
    assert one.pause(SILENT, 1.0, 1.0) == 1.0
    assert [one.pause(FAILED, now, now) for now in (2.0, 3.0, 4.0)] == [1, 2, 4]


def test_the_open_budget_begins_with_the_last_answer_of_any_replica() -> None:
    one = budget()
    assert one.pause(SILENT, 8.0, 5.0) is not None
    assert one.pause(SILENT, 14.0, 5.0) is not None
    assert one.pause(SILENT, 15.0, 5.0) is None
    assert one.reason.startswith("No replica of the ingestion service answered")


def test_replicas_that_do_not_know_the_operation_keep_it_no_longer() -> None:
    one = budget()
    assert one.pause(NOBODY, 8.0, 7.9) is not None
    assert one.pause(NOBODY, 10.0, 9.9) is None


def test_the_last_pause_is_shortened_to_the_end_of_the_open_budget() -> None:
    one = budget()
    assert [one.pause(NOBODY, now) for now in (0.0, 1.0, 3.0)] == [1, 2, 4]
    assert one.pause(NOBODY, 7.2) == pytest.approx(2.8)
    assert one.pause(NOBODY, 10.0) is None


def test_a_replica_that_answers_renews_the_open_budget() -> None:
    one = budget()
    assert one.pause(FAILED, 9.5) is not None
    assert one.pause(NOBODY, 16.0) is not None
    assert one.pause(NOBODY, 19.5) is None


def test_the_last_attempt_is_left_time_before_the_deadline() -> None:
    one = budget(deadline=5.0)
    assert one.pause(FAILED, 0.0) == 1.0
    assert one.pause(FAILED, 2.0) == 2.0
    assert one.pause(FAILED, 3.0) == 1.0
    assert one.pause(FAILED, 4.0) is None


def test_nothing_is_tried_at_the_deadline_or_later() -> None:
    one = budget(deadline=5.0)
    assert one.pause(FAILED, 4.999) is None
    assert one.pause(FAILED, 60.0) is None


@given(
    outcomes=st.lists(st.sampled_from([NOBODY, SILENT, FAILED]), max_size=60),
    answered_before=st.floats(0, 60),
    random=st.floats(0, 1),
    took=st.floats(0, 3),
)
def test_attempts_end_and_never_begin_after_the_deadline(
    outcomes: list[AttemptFailed | Result], answered_before: float, random: float, took: float
) -> None:
    now, one = 0.0, budget(random)
    for outcome in outcomes:
        pause = one.pause(outcome, now + took, now + took - answered_before)
        if pause is None:
            return
        assert pause > 0
        now += took + pause
        assert now < 50.0
