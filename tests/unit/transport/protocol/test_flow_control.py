from dimse_ingestion.transport.protocol.flow_control import ArrivalAction, ReceiveWindow, SendWindow


def inflow(limit: int = 100) -> ReceiveWindow:
    made = ReceiveWindow()
    made.limit = limit
    return made


def test_only_the_expected_position_is_accepted() -> None:
    stream = inflow()
    assert stream.take(0, 10) is ArrivalAction.ACCEPT
    assert stream.take(0, 10) is ArrivalAction.IGNORE
    assert stream.take(10, 10) is ArrivalAction.ACCEPT
    assert stream.expected == 20


def test_one_gap_causes_one_resume_in_each_pass() -> None:
    stream = inflow()
    assert stream.take(10, 10) is ArrivalAction.RESUME
    assert stream.take(20, 10) is ArrivalAction.IGNORE
    assert stream.take(10, 10) is ArrivalAction.RESUME  # it went back, and the first is lost again
    assert stream.take(0, 10) is ArrivalAction.ACCEPT
    assert stream.take(20, 10) is ArrivalAction.RESUME


def test_data_beyond_the_limit_is_ignored() -> None:
    assert inflow(limit=15).take(10, 10) is ArrivalAction.IGNORE
    assert inflow(limit=5).take(0, 10) is ArrivalAction.IGNORE


def test_credit_only_grows() -> None:
    stream = SendWindow()
    stream.apply_credit(0, 30)
    stream.apply_credit(0, 20)
    assert (stream.limit, stream.available) == (30, 30)


def test_a_resume_goes_back_unless_it_is_outdated() -> None:
    stream = SendWindow()
    stream.apply_credit(0, 100)
    stream.next = 50
    assert stream.apply_resume(20, 100)
    assert (stream.next, stream.confirmed) == (20, 20)
    stream.next = 60
    assert not stream.apply_resume(10, 100)
    assert stream.next == 60


def test_confirmed_data_is_not_sent_again() -> None:
    stream = SendWindow()
    stream.apply_credit(40, 100)
    assert stream.next == 40
