"""Audit messages against the schema of PS3.15 A.5.1.1 and the tables of A.5.3."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dimse_ingestion.audit import messages, syslog, xml
from dimse_ingestion.audit.codes import Action, EventId, EventType, Outcome
from dimse_ingestion.audit.messages import (
    Activity,
    Alert,
    AskedQuery,
    AuditMessage,
    Participant,
    Patient,
    destination,
    source,
)
from tests.audit_repository import Received, check_xml, parse

NOW = datetime(2026, 5, 6, 7, 8, 9, 123456, UTC)
ITSELF = Participant("proxy@edge:7", "edge", ("INGEST",), "dimse-ingestion proxy")
CT = Participant("CT1", "10.1.2.3", ("CT1",), is_requestor=True)
ORIGIN = syslog.Origin("edge", "dimse-proxy", 7)
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def encoded(message: AuditMessage, site: str = "") -> bytes:
    return xml.encode(message, xml.AuditSource("edge", site))


def received(message: AuditMessage, site: str = "") -> Received:
    return parse(syslog.encode(ORIGIN, NOW, message.outcome, encoded(message, site)))


def stored(**changed: Any) -> AuditMessage:
    fields: dict[str, Any] = {
        "event": EventId.INSTANCES_TRANSFERRED,
        "action": Action.CREATE,
        "outcome": Outcome.SUCCESS,
        "participants": (source(CT), destination(ITSELF)),
        "study_instance_uid": "1.2.3",
        "patient": Patient("P1", "Doe^Jane"),
    }
    return messages.instances(Activity(**fields | changed), NOW, {CT_IMAGE: 12, "1.2.4": 1})


def test_transferred_instances_are_as_table_a_5_3_7_1_has_them() -> None:
    message = received(stored(), site="Hospital")

    event = message.xml.find("EventIdentification")
    assert dict(event.attrib) == {
        "EventActionCode": "C",
        "EventDateTime": "2026-05-06T07:08:09.123+00:00",
        "EventOutcomeIndicator": "0",
    }
    assert dict(event.find("EventID").attrib) == {
        "csd-code": "110104",
        "codeSystemName": "DCM",
        "displayName": "DICOM Instances Transferred",
        "originalText": "DICOM Instances Transferred",
    }
    assert event.find("EventTypeCode") is None
    sender, receiver = message.xml.findall("ActiveParticipant")
    assert dict(sender.attrib) == {
        "UserID": "CT1",
        "AlternativeUserID": "AETITLES=CT1",
        "UserIsRequestor": "true",
        "NetworkAccessPointID": "10.1.2.3",
        "NetworkAccessPointTypeCode": "2",
    }
    assert dict(receiver.attrib) == {
        "UserID": "proxy@edge:7",
        "AlternativeUserID": "AETITLES=INGEST",
        "UserName": "dimse-ingestion proxy",
        "UserIsRequestor": "false",
        "NetworkAccessPointID": "edge",
        "NetworkAccessPointTypeCode": "1",
    }
    roles = [each.find("RoleIDCode") for each in (sender, receiver)]
    assert [(each.get("csd-code"), each.get("originalText")) for each in roles] == [
        ("110153", "Source Role ID"),
        ("110152", "Destination Role ID"),
    ]
    origin = message.xml.find("AuditSourceIdentification")
    assert dict(origin.attrib) == {"AuditEnterpriseSiteID": "Hospital", "AuditSourceID": "edge"}
    assert origin.find("AuditSourceTypeCode").get("csd-code") == "4"
    study = message.object("110180")
    assert dict(study.attrib) == {
        "ParticipantObjectID": "1.2.3",
        "ParticipantObjectTypeCode": "2",
        "ParticipantObjectTypeCodeRole": "3",
    }
    assert message.sop_classes == {CT_IMAGE: 12, "1.2.4": 1}
    patient = message.object("2")
    assert dict(patient.attrib) == {
        "ParticipantObjectID": "P1",
        "ParticipantObjectTypeCode": "1",
        "ParticipantObjectTypeCodeRole": "1",
    }
    assert patient.find("ParticipantObjectIDTypeCode").get("codeSystemName") == "RFC-3881"
    assert message.patient == ("P1", "Doe^Jane")


def test_a_failed_transfer_says_so_in_the_event_and_in_the_severity() -> None:
    failed = stored(outcome=Outcome.SERIOUS_FAILURE, outcome_description="DIMSE status A900H")
    message = received(failed)
    assert message.event_attribute("OutcomeIndicator") == "8"
    assert message.xml.findtext("*/EventOutcomeDescription") == "DIMSE status A900H"
    assert (message.priority, received(stored()).priority) == (84, 85)


def test_a_start_and_a_stop_are_as_table_a_5_3_1_1_has_them() -> None:
    for starts, code in ((True, "110120"), (False, "110121")):
        message = received(messages.application_activity(ITSELF, NOW, starts=starts))
        assert message.event == "Application Activity"
        assert message.event_attribute("ActionCode") == "E"
        assert message.xml.find("*/EventTypeCode").get("csd-code") == code
        assert message.xml.find("ParticipantObjectIdentification") is None


def test_a_query_is_as_table_a_5_3_10_1_has_it() -> None:
    asked = AskedQuery(FIND, b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY ", "1.2.840.10008.1.2")
    query = messages.query(asked, (source(CT), destination(ITSELF)), NOW, Outcome.SUCCESS)
    message = received(query)
    assert (message.event, message.event_attribute("ActionCode")) == ("Query", "E")
    assert message.participants == [("CT1", "110153", True), ("proxy@edge:7", "110152", False)]
    queried = message.object("110181")
    assert dict(queried.attrib) == {
        "ParticipantObjectID": FIND,
        "ParticipantObjectTypeCode": "2",
        "ParticipantObjectTypeCodeRole": "3",
    }
    assert b64decode(queried.findtext("ParticipantObjectQuery")) == asked.content
    assert message.detail("110181", "TransferSyntax") == b"1.2.840.10008.1.2"


def test_a_query_of_the_web_is_under_its_uri() -> None:
    asked = AskedQuery("/dicomweb/studies", b"PatientID=P1")
    query = messages.query(asked, (source(CT), destination(ITSELF)), NOW, Outcome.SUCCESS)
    queried = received(query).object("12")
    assert queried.get("ParticipantObjectID") == "/dicomweb/studies"
    assert b64decode(queried.findtext("ParticipantObjectQuery")) == b"PatientID=P1"


def test_a_long_query_is_cut_and_says_how_long_it_was() -> None:
    asked = AskedQuery(FIND, bytes(1_000_000), "1.2.840.10008.1.2")
    query = messages.query(asked, (source(CT), destination(ITSELF)), NOW, Outcome.SUCCESS)
    message = received(query)  # which is short enough for every repository
    assert message.detail("110181", "QueryLength") == b"1000000"
    cut = b64decode(message.object("110181").findtext("ParticipantObjectQuery"))
    assert cut == asked.content[: messages.LONGEST_QUERY]


def test_a_security_alert_is_as_table_a_5_3_11_1_has_it() -> None:
    culprit = Participant("EVIL", "10.6.6.6", ("EVIL",))
    alert = Alert(EventType.NODE_AUTHENTICATION, culprit, "Rejected.", "/dicomweb/studies")
    message = received(messages.security_alert(alert, ITSELF, NOW, repetitions=3))
    assert (message.event, message.type) == ("Security Alert", "Node Authentication")
    assert message.event_attribute("ActionCode") == "E"
    assert message.event_attribute("OutcomeIndicator") == "4"
    assert message.participants == [("proxy@edge:7", "", False), ("EVIL", "", False)]
    for id_type, subject in (("110182", "10.6.6.6"), ("12", "/dicomweb/studies")):
        found = message.object(id_type)
        assert found.get("ParticipantObjectID") == subject
        assert found.get("ParticipantObjectTypeCode") == "2"
        assert found.get("ParticipantObjectTypeCodeRole") == "13"
        assert message.detail(id_type, "Alert Description") == b"Rejected."
        assert message.detail(id_type, "Repetitions") == b"3"


def test_the_time_of_an_event_has_its_zone() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    message = messages.application_activity(ITSELF, noon, starts=True)
    written = check_xml(encoded(message)).find("EventIdentification").get("EventDateTime")
    assert written == "2026-01-01T12:00:00.000+01:00"
    header = syslog.encode(ORIGIN, noon, Outcome.SUCCESS, b"").split(b" ")
    assert header[1] == b"2026-01-01T11:00:00.000Z"


TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)


@given(TEXTS, TEXTS, TEXTS, TEXTS, st.binary(max_size=80))
def test_no_text_from_the_network_makes_a_message_invalid(
    title: str, name: str, number: str, description: str, query: bytes
) -> None:
    culprit = Participant(title, title, (title,))
    for message in (
        stored(patient=Patient(number, name), participants=(source(culprit),)),
        messages.query(AskedQuery(title, query, ""), (source(culprit),), NOW, Outcome.SUCCESS),
        messages.security_alert(
            Alert(EventType.NODE_AUTHENTICATION, culprit, description, title), ITSELF, NOW
        ),
    ):
        received(message, site=title)


def test_what_xml_can_hold_arrives_as_it_is() -> None:
    name = "Müller^\"<&>'山田\t\n^太郎"
    message = received(stored(patient=Patient(name, name)))
    assert message.patient[0] == name
    assert message.patient[1] == name


def test_a_header_has_only_what_rfc_5424_allows() -> None:
    origin = syslog.Origin("höst name" * 50, "", 1)
    fields = syslog.encode(origin, NOW, Outcome.SUCCESS, b"x").split(b" ")
    assert (fields[2][:9], len(fields[2]), fields[3]) == (b"h_st_name", 255, b"-")


def test_a_frame_counts_octets() -> None:
    assert syslog.frame("ä".encode()) == b"2 \xc3\xa4"
