from dimse_ingestion.transport.frames import Result
from dimse_ingestion.transport.messages import StoreResult
from dimse_ingestion.transport.patience import Patience
from dimse_ingestion.transport.session import Elsewhere
from dimse_ingestion.transport.times import Times

TIMES = Times(first_pause=1.0, longest_pause=4.0, open_budget=10.0)
NOBODY = Elsewhere("Nobody listens", reached=False)
FAILED = Result(store=StoreResult(status=0xA700, transient=True))


def patience(random: float = 1.0, deadline: float = 50.0) -> Patience:
    return Patience(TIMES, 0.0, deadline, lambda: random)


def test_pauses_grow_to_a_limit() -> None:
    one = patience()
    assert [one.pause(FAILED, 0.0) for _ in range(5)] == [1, 2, 4, 4, 4]


def test_pauses_are_jittered_by_half() -> None:
    assert patience(random=0.0).pause(FAILED, 0.0) == 0.5


def test_a_replica_may_ask_for_more() -> None:
    assert patience().pause(Elsewhere("busy", after=3.0), 0.0) == 4.0


def test_nobody_reached_for_the_open_budget_ends_it() -> None:
    one = patience()
    assert one.pause(NOBODY, 8.9) is not None
    assert one.pause(NOBODY, 9.0) is None
    assert one.because == "Nobody listens"


def test_a_replica_that_answers_renews_the_open_budget() -> None:
    one = patience()
    assert one.pause(FAILED, 9.5) is not None
    assert one.pause(NOBODY, 16.0) is not None
    assert one.pause(NOBODY, 19.0) is None


def test_the_deadline_ends_it_whatever_was_reached() -> None:
    one = patience(deadline=5.0)
    assert one.pause(FAILED, 3.9) == 1.0
    assert one.pause(FAILED, 3.9) is None
