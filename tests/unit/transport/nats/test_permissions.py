import pytest

from dimse_ingestion.transport.nats.connection import Denial
from dimse_ingestion.transport.nats.permissions import Denials, check_subject
from dimse_ingestion.transport.protocol.subjects import (
    ingestion_permissions,
    matches,
    proxy_permissions,
)

GRANTS = [proxy_permissions("R.x", "p"), ingestion_permissions("R.x")]


@pytest.mark.parametrize(
    "permission", [each for grant in GRANTS for each in (*grant.publish, *grant.subscribe)]
)
def test_a_check_is_within_its_permission_and_has_no_subscriber(permission: str) -> None:
    subject, queue = check_subject(permission)
    pattern, _, wanted_queue = permission.partition(" ")
    assert matches(pattern, subject)
    assert queue == wanted_queue
    assert subject.endswith("permission-check")


def test_a_denial_is_new_once_counted_and_forgotten() -> None:
    denials = Denials()
    assert denials.sentence == ""
    assert denials.add(Denial(publish=True, subject="a"))
    assert not denials.add(Denial(publish=True, subject="a"))
    assert denials.add(Denial(publish=False, subject="b"))
    assert "may not publish to a (and 1 more)" in denials.sentence
    assert denials.is_subscription_denied("b")
    assert not denials.is_subscription_denied("a")
    denials.forget(seconds=60)
    assert len(denials.all) == 2
    denials.forget()
    assert list(denials.all) == []
