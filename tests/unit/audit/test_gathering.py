"""Instances and alerts are gathered into messages: pure, with times that the test gives."""

from datetime import UTC, datetime, timedelta

from dimse_ingestion.audit.codes import Action, EventId, EventType, Outcome
from dimse_ingestion.audit.gathering import Alerts, Instances
from dimse_ingestion.audit.messages import Activity, Alert, AuditMessage, Participant, Patient

START = datetime(2026, 1, 1, tzinfo=UTC)
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def activity(study: str = "1.2", outcome: Outcome = Outcome.SUCCESS) -> Activity:
    return Activity(
        EventId.INSTANCES_TRANSFERRED, Action.CREATE, outcome, (), study, Patient("P", "N")
    )


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def studies(emitted: list[AuditMessage]) -> list[tuple[str, str, dict[str, int]]]:
    return [
        (each.objects[0].id, each.outcome.value, dict(each.objects[0].sop_classes))
        for each in emitted
    ]


def test_one_message_for_an_association_and_study_with_the_time_of_the_last_instance() -> None:
    emitted: list[AuditMessage] = []
    instances = Instances(emitted.append)
    for second, sop_class in enumerate((CT, CT, MR)):
        instances.add("a", activity(), sop_class, at(second), 900)
    instances.add("a", activity("1.3"), CT, at(5), 900)
    instances.add("a", activity(outcome=Outcome.MINOR_FAILURE), CT, at(6), 900)
    instances.add("b", activity(), CT, at(7), 900)
    assert not emitted
    instances.end("a")
    assert studies(emitted) == [
        ("1.2", "0", {CT: 2, MR: 1}),
        ("1.3", "0", {CT: 1}),
        ("1.2", "4", {CT: 1}),
    ]
    assert emitted[0].time == at(2)
    instances.end("a")
    assert len(emitted) == 3


def test_what_goes_on_for_long_is_reported_in_between() -> None:
    emitted: list[AuditMessage] = []
    instances = Instances(emitted.append)
    instances.add("a", activity(), CT, at(0), 60)
    instances.end_due(at(59))
    assert not emitted
    instances.add("a", activity(), CT, at(59), 60)
    instances.end_due(at(60))
    assert studies(emitted) == [("1.2", "0", {CT: 2})]


def test_what_is_gathered_is_bounded_and_nothing_is_dropped() -> None:
    emitted: list[AuditMessage] = []
    instances = Instances(emitted.append)
    for number in range(1500):
        instances.add("a", activity(f"1.{number}"), CT, at(0), 900)
    assert len(emitted) == 500
    instances.end_due(None)
    assert sorted(each.objects[0].id for each in emitted) == sorted(f"1.{n}" for n in range(1500))


def test_many_sop_classes_become_several_messages() -> None:
    emitted: list[AuditMessage] = []
    instances = Instances(emitted.append)
    for number in range(250):
        instances.add("a", activity(), f"1.2.{number}", at(0), 900)
    instances.end("a")
    assert [len(each.objects[0].sop_classes) for each in emitted] == [100, 100, 50]


def alert(title: str = "EVIL", address: str = "10.6.6.6") -> Alert:
    culprit = Participant(title, address, (title,))
    return Alert(EventType.NODE_AUTHENTICATION, culprit, "Rejected.")


def test_an_alert_comes_at_once_and_its_repetitions_later_as_one() -> None:
    emitted: list[AuditMessage] = []
    alerts = Alerts(emitted.append, Participant("itself"), 60)
    alerts.add(alert(), at(0))
    assert len(emitted) == 1
    for number in range(1000):  # another title each time, from one address
        alerts.add(alert(f"EVIL{number}"), at(1))
    alerts.add(alert(address="10.6.6.7"), at(2))
    assert len(emitted) == 2
    alerts.end_due(at(61))
    assert len(emitted) == 3
    assert dict(emitted[2].objects[0].details)["Repetitions"] == b"1000"
    alerts.end_due(at(122))
    assert len(emitted) == 3
    alerts.add(alert(), at(123))
    assert len(emitted) == 4


def test_repetitions_are_not_lost_at_the_end() -> None:
    emitted: list[AuditMessage] = []
    alerts = Alerts(emitted.append, Participant("itself"), 60)
    alerts.add(alert(), at(0))
    alerts.add(alert(), at(1))
    alerts.end_due(at(2), everything=True)
    assert dict(emitted[1].objects[0].details)["Repetitions"] == b"1"
