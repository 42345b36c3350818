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


def test_a_window_grows_up_to_its_limit_and_to_half_of_all_credit() -> None:
    pool = CreditPool(FlowLimits(window=4, min_window=2, total_window=40, largest_window=12))
    first = pool.reserve(1000)
    assert first == 4
    assert pool.grow(4) == 8
    assert pool.grow(8) == 12
    assert pool.grow(12) == 12
    assert pool.reserve(1000) == 4
    assert pool.grow(4) == 8  # 20 of 40 are granted now
    assert pool.grow(8) == 8
    pool.release(12)
    assert pool.grow(8) == 12
    pool.release(12)
    assert [pool.reserve(1000) for _ in range(11)] == [4] * 10 + [None]
