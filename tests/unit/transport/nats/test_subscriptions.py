import pytest

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.nats.subscriptions import SubscriptionTable


def test_a_message_reaches_its_subscription_until_removal() -> None:
    received = list[str]()
    table = SubscriptionTable()
    one = table.add("a", "", lambda each: received.append(f"one {each.subject}"))
    other = table.add("a", "q", lambda each: received.append(f"other {each.subject}"))
    table.deliver(one.number, Delivery("a", b""))
    table.deliver(other.number, Delivery("b", b""))
    table.remove(one)
    table.deliver(one.number, Delivery("c", b""))
    assert received == ["one a", "other b"]


@pytest.mark.parametrize(
    ("subject", "queue"), [("", ""), ("a b", ""), ("a\r\nPING", ""), ("a", "q 1")]
)
def test_a_subject_with_white_space_is_refused(subject: str, queue: str) -> None:
    with pytest.raises(ValueError, match="not a NATS subject"):
        SubscriptionTable().add(subject, queue, print)
