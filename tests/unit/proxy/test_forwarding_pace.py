import pytest

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.proxy.forwarding_pace import Outcome, Pace, PaceLimits, outcome_of
from dimse_ingestion.transport.protocol.messages import StoreResult


@pytest.mark.parametrize(
    ("status", "transient", "outcome"),
    [
        (Status.SUCCESS, False, Outcome.DELIVERED),
        (Status.CANNOT_UNDERSTAND, False, Outcome.REFUSED),
        (0xC0FF, False, Outcome.REFUSED),
        (Status.DOES_NOT_MATCH_SOP_CLASS, False, Outcome.REFUSED),
        (0xA9FF, False, Outcome.REFUSED),
        (Status.INVALID_SOP_INSTANCE, False, Outcome.REFUSED),
        (Status.SOP_CLASS_NOT_SUPPORTED, False, Outcome.REFUSED),
        (Status.OUT_OF_RESOURCES, False, Outcome.REFUSED),
        (Status.OUT_OF_RESOURCES, True, Outcome.UNAVAILABLE),
        (Status.CANNOT_UNDERSTAND, True, Outcome.UNAVAILABLE),
        (Status.NOT_AUTHORIZED, True, Outcome.DENIED),
        (Status.NOT_AUTHORIZED, False, Outcome.DENIED),
        (Status.PROCESSING_FAILURE, False, Outcome.FAILED),
        (0xB000, False, Outcome.FAILED),
    ],
)
def test_only_what_the_service_refuses_for_good_is_final(
    status: int, transient: bool, outcome: Outcome
) -> None:
    assert outcome_of(StoreResult(status=status, transient=transient)) is outcome


def pace(parallel: int = 4) -> Pace:
    return Pace(PaceLimits(parallel, first_pause=1, longest_pause=8), lambda: 1.0)


def test_several_are_sent_at_once_while_the_service_answers() -> None:
    each = pace(parallel=2)
    assert [each.may_start(running, 0.0) for running in range(3)] == [True, True, False]


def test_after_a_failure_one_is_tried_at_growing_intervals() -> None:
    each, now = pace(), 0.0
    for pause in (1, 2, 4, 8, 8):
        each.on_failure(now, now)
        assert not each.may_start(0, now + pause - 0.01)
        assert each.wake_at(now) == now + pause
        now += pause
        assert each.may_start(0, now)
        assert not each.may_start(1, now)
        assert each.wake_at(now) is None


def test_a_delivery_opens_the_way_again() -> None:
    each = pace()
    each.on_failure(0.0, 1.0)
    assert each.on_delivered(5.0)
    assert each.may_start(3, 5.0)
    assert not each.on_delivered(6.0)


def test_a_reconnect_ends_the_pause() -> None:
    each = pace()
    each.on_failure(0.0, 1.0)
    assert not each.may_start(0, 1.0)
    each.on_reconnect()
    assert each.may_start(0, 1.0)
    assert not each.may_start(1, 1.0)


def test_a_failure_beside_deliveries_is_the_data_sets_own() -> None:
    each = pace()
    each.on_delivered(2.0)
    each.on_failure(1.0, 3.0)
    assert each.may_start(3, 3.0)


def test_the_pause_of_one_grows_to_its_own_limit_with_jitter() -> None:
    limits = PaceLimits(first_pause=1, longest_pause_of_one=300)
    whole, half = Pace(limits, lambda: 1.0), Pace(limits, lambda: 0.0)
    assert [whole.pause_of_one(n) for n in (1, 2, 3, 10, 1000)] == [1, 2, 4, 300, 300]
    assert half.pause_of_one(3) == 2
