import pytest

from dimse_ingestion.transport.carrier import Delivery
from dimse_ingestion.transport.nats.subscriptions import SubscriptionTable


def test_a_message_reaches_whom_it_is_for_until_it_leaves() -> None:
    taken = list[str]()
    listenings = SubscriptionTable()
    one = listenings.add("a", "", lambda each: taken.append(f"one {each.subject}"))
    other = listenings.add("a", "q", lambda each: taken.append(f"other {each.subject}"))
    listenings.deliver(one.number, Delivery("a", b""))
    listenings.deliver(other.number, Delivery("b", b""))
    listenings.remove(one)
    listenings.deliver(one.number, Delivery("c", b""))
    assert taken == ["one a", "other b"]


@pytest.mark.parametrize(
    ("subject", "queue"), [("", ""), ("a b", ""), ("a\r\nPING", ""), ("a", "q 1")]
)
def test_what_could_break_out_of_its_line_is_refused(subject: str, queue: str) -> None:
    with pytest.raises(ValueError, match="not a NATS subject"):
        SubscriptionTable().add(subject, queue, print)
