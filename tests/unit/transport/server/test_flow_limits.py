from dimse_ingestion.transport.server.flow_limits import CreditPool, FlowLimits

LIMITS = FlowLimits(window=4, min_window=2, total_window=10)


def test_a_window_is_no_larger_than_the_data_set() -> None:
    assert CreditPool(LIMITS).reserve(3) == 3
    assert CreditPool(LIMITS).reserve(1000) == 4


def test_the_last_window_may_be_smaller_and_then_there_is_none() -> None:
    grants = CreditPool(LIMITS)
    assert [grants.reserve(100) for _ in range(4)] == [4, 4, 2, None]
    grants.release(4)
    assert grants.reserve(100) == 4


def test_an_empty_data_set_needs_no_credit() -> None:
    grants = CreditPool(FlowLimits(window=4, min_window=2, total_window=0))
    assert grants.reserve(0) == 0
    assert grants.reserve(1) is None
