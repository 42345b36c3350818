"""Sender and receiver connected directly, without a carrier, an event loop or a clock."""

from dimse_ingestion.transport.protocol.codec import (
    Accept,
    Credit,
    Data,
    End,
    Leaving,
    Message,
    Probe,
    Progress,
    Result,
    Resume,
    Unknown,
)
from dimse_ingestion.transport.protocol.messages import StoreResult
from dimse_ingestion.transport.protocol.state import NEVER, AttemptFailed
from dimse_ingestion.transport.protocol.store_receiver import StoreReceiver
from dimse_ingestion.transport.protocol.store_sender import StoreSender
from dimse_ingestion.transport.protocol.timeouts import Timeouts

TIMES = Timeouts()
DIGEST = "0" * 64
SUBJECT = "R.v1.in.r.s"
DONE = Result(store=StoreResult(status=0))


def ends(size: int = 100, window: int = 40) -> tuple[StoreSender, StoreReceiver]:
    """Return an accepted session with chunks of 10 bytes, before the first chunk."""
    sender = StoreSender(size, DIGEST, 10, TIMES, 0.0)
    receiver = StoreReceiver(SUBJECT, size, DIGEST, 10, TIMES, 0.0)
    for message in receiver.grant(window, 0.0):
        assert sender.receive(message, 0.0, SUBJECT) == []
    return sender, receiver


def data(sender: StoreSender) -> list[Data]:
    sent = []
    while piece := sender.next_chunk():
        content = bytes(piece[1])
        sent.append(Data(offset=piece[0], content=content, blocked=sender.is_blocked))
    return sent


def taken(receiver: StoreReceiver, messages: list[Data], now: float = 0.0) -> list[Message]:
    return [answer for message in messages for answer in receiver.receive(message, now)]


def test_the_sender_stops_at_the_limit_and_goes_on_with_credit() -> None:
    sender, receiver = ends()
    assert [each.offset for each in data(sender)] == [0, 10, 20, 30]
    assert sender.on_timer(0.0) == []
    sender.receive(Credit(expected=40, limit=50), 0.0, SUBJECT)
    assert [each.offset for each in data(sender)] == [40]
    assert not receiver.complete


def test_credit_is_given_each_quarter_window_and_no_more_often() -> None:
    sender, receiver = ends(size=1000)
    taken(receiver, data(sender))
    assert receiver.consumed(5, 0.0) == []
    assert receiver.consumed(5, 0.0) == [Credit(expected=40, limit=50)]


def test_end_follows_the_last_byte_and_is_answered_each_time() -> None:
    sender, receiver = ends(size=25)
    taken(receiver, data(sender))
    (end,) = sender.on_timer(0.0)
    assert end == End(size=25, sha256=DIGEST)
    assert sender.on_timer(0.0) == []
    assert receiver.receive(end, 0.0) == [Progress()]
    assert receiver.complete
    assert receiver.receive(end, 0.0) == [Progress()]
    assert receiver.finish(DONE, 0.0) == [DONE]
    assert receiver.receive(end, 0.0) == [DONE]


def test_a_lost_chunk_is_sent_again_after_one_resume() -> None:
    sender, receiver = ends()
    sent = data(sender)
    answers = taken(receiver, [sent[0], *sent[2:]])
    assert answers == [Resume(expected=10, limit=40)]
    sender.receive(answers[0], 0.0, SUBJECT)
    assert taken(receiver, data(sender)) == []
    assert list(receiver.arrived) == [bytes(10)] * 4


def test_a_lost_last_chunk_is_detected_at_the_end() -> None:
    sender, receiver = ends(size=20)
    sent = data(sender)
    taken(receiver, sent[:1])
    (end,) = sender.on_timer(0.0)
    assert receiver.receive(end, 0.0) == [Resume(expected=10, limit=20)]
    assert not receiver.complete


def test_another_end_than_announced_breaks_the_session() -> None:
    sender, receiver = ends(size=20)
    taken(receiver, data(sender))
    receiver.receive(End(size=20, sha256="1" * 64), 0.0)
    assert receiver.failure_reason
    assert not receiver.complete


def test_silence_is_probed_and_the_answer_has_the_missing_position() -> None:
    sender, receiver = ends()
    sent = data(sender)
    taken(receiver, sent[:2])
    assert sender.on_timer(0.9) == []
    (probe,) = sender.on_timer(1.0)
    assert probe == Probe(position=40)
    assert receiver.receive(probe, 1.0) == [Resume(expected=20, limit=40)]
    taken(receiver, sent[2:], 1.0)
    assert receiver.receive(probe, 1.0) == [Credit(expected=40, limit=40)]


def test_no_responders_is_probed_and_then_ends_the_attempt() -> None:
    sender, _ = ends()
    sender.on_no_responders(5.0)
    assert sender.next_chunk() is None
    find_open = 0
    now = 5.0
    while sender.outcome is None:
        now = sender.wake_at
        find_open += len(sender.on_timer(now))
        sender.on_no_responders(now)
    assert find_open > 8
    assert now == 8.0
    assert isinstance(sender.outcome, AttemptFailed)


def test_an_answer_ends_the_probes_after_no_responders() -> None:
    sender, _ = ends()
    sender.on_no_responders(5.0)
    sender.receive(Credit(expected=0, limit=40), 6.0, SUBJECT)
    assert len(data(sender)) == 4


def test_a_hanging_replica_is_given_up() -> None:
    sender, _ = ends()
    data(sender)
    now = 0.0
    while sender.outcome is None:
        now = sender.wake_at
        sender.on_timer(now)
    assert now == TIMES.probe_timeout


def outcome_at(sender: StoreSender, now: float) -> object:
    """Run the sender's timer at a time, and return the outcome, None while there is none."""
    sender.on_timer(now)
    return sender.outcome


def test_an_open_without_an_answer_is_given_up_after_two_seconds() -> None:
    sender = StoreSender(10, DIGEST, 10, TIMES, 0.0)
    assert outcome_at(sender, 1.9) is None
    failed = AttemptFailed("No answer to the open", replica_answered=False)
    assert outcome_at(sender, 2.0) == failed
    assert sender.wake_at == NEVER


def test_leaving_and_unknown_end_the_attempt_at_once() -> None:
    for message in (Leaving(), Unknown()):
        sender, _ = ends()
        sender.receive(message, 0.0, SUBJECT)
        assert isinstance(sender.outcome, AttemptFailed)


def test_a_reconnect_is_probed_at_once() -> None:
    sender, _ = ends()
    data(sender)
    sender.on_disconnect(0.1)
    assert sender.on_timer(1.5) == []
    assert sender.on_reconnect(2.0) == [Probe(position=40)]


def test_a_replica_that_expects_more_than_the_size_is_given_up() -> None:
    sender, _ = ends(size=20)
    sender.receive(Credit(expected=30, limit=40), 0.0, SUBJECT)
    assert isinstance(sender.outcome, AttemptFailed)


def test_another_attempt_continues_at_the_position_of_the_session() -> None:
    sender, receiver = ends()
    taken(receiver, data(sender)[:3])
    second = StoreSender(100, DIGEST, 10, TIMES, 5.0)
    (accept,) = receiver.join(5.0)
    assert isinstance(accept, Accept)
    second.receive(accept, 5.0, SUBJECT)
    assert data(second)[0].offset == 30


def test_a_silent_sender_loses_its_lease_only_before_the_last_byte() -> None:
    sender, receiver = ends(size=20)
    taken(receiver, data(sender))
    (end,) = sender.on_timer(0.0)
    receiver.receive(end, 19.0)
    receiver.on_timer(500.0)
    assert not receiver.failure_reason
    _, silent = ends()
    assert silent.wake_at <= 20.0
    silent.on_timer(20.0)
    assert silent.failure_reason


def test_a_receiver_at_work_sends_progress_at_each_heartbeat() -> None:
    sender, receiver = ends(size=20)
    taken(receiver, data(sender))
    receiver.receive(sender.on_timer(0.0)[0], 0.0)
    assert receiver.wake_at == TIMES.heartbeat_interval
    assert receiver.on_timer(TIMES.heartbeat_interval) == [Progress()]


def test_a_fast_inline_store_sends_no_accept() -> None:
    receiver = StoreReceiver(SUBJECT, 3, DIGEST, 10, TIMES, 0.0, inline=b"abc")
    assert receiver.complete
    assert receiver.finish(DONE, 0.4) == [DONE]
    slow = StoreReceiver(SUBJECT, 3, DIGEST, 10, TIMES, 0.0, inline=b"abc")
    assert slow.wake_at == TIMES.accept_after
    (accept,) = slow.on_timer(TIMES.accept_after)
    assert isinstance(accept, Accept)
    assert accept.expected == 3


def test_inline_bytes_of_another_length_break_the_session() -> None:
    assert StoreReceiver(SUBJECT, 4, DIGEST, 10, TIMES, 0.0, inline=b"abc").failure_reason


def doubled(window: int) -> int:
    return window * 2


def test_only_the_last_chunk_that_credit_allows_says_that_the_sender_is_blocked() -> None:
    sender, _ = ends(size=100, window=40)
    assert [each.blocked for each in data(sender)] == [False, False, False, True]
    sender.receive(Credit(expected=40, limit=100), 0.0, SUBJECT)
    assert not any(each.blocked for each in data(sender))  # the last byte needs no more credit


def test_the_window_grows_when_both_sides_wait_for_credit() -> None:
    sender = StoreSender(1000, DIGEST, 10, TIMES, 0.0)
    receiver = StoreReceiver(SUBJECT, 1000, DIGEST, 10, TIMES, 0.0)
    for message in receiver.grant(40, 0.0, doubled):
        sender.receive(message, 0.0, SUBJECT)
    taken(receiver, data(sender))
    credits_ = [answer for _ in range(4) for answer in receiver.consumed(10, 0.0)]
    assert [each.limit for each in credits_ if isinstance(each, Credit)] == [50, 60, 70, 120]
    for message in credits_[:1]:
        sender.receive(message, 0.0, SUBJECT)
    taken(receiver, data(sender))  # the next round begins: the sender is blocked again at 50
    assert [each.limit for each in receiver.consumed(10, 0.0) if isinstance(each, Credit)] == [210]


def test_the_window_stays_while_the_bucket_is_slower_than_the_sender() -> None:
    sender = StoreSender(1000, DIGEST, 10, TIMES, 0.0)
    receiver = StoreReceiver(SUBJECT, 1000, DIGEST, 10, TIMES, 0.0)
    answers = receiver.grant(40, 0.0, doubled)
    for _ in range(20):
        for message in answers:
            sender.receive(message, 0.0, SUBJECT)
        taken(receiver, data(sender))  # always ahead of what is consumed
        answers = receiver.consumed(10, 0.0)
    assert isinstance(answers[0], Credit)
    assert answers[0].limit == 20 * 10 + 40


def test_the_window_stays_while_the_sender_has_credit_left() -> None:
    receiver = StoreReceiver(SUBJECT, 1000, DIGEST, 10, TIMES, 0.0)
    receiver.grant(40, 0.0, doubled)
    limits = []
    for offset in range(0, 200, 10):  # a slow line: each chunk is consumed before the next comes
        receiver.receive(Data(offset=offset, content=bytes(10)), 0.0)
        limits += [each.limit for each in receiver.consumed(10, 0.0) if isinstance(each, Credit)]
    assert limits[-1] == 200 + 40
