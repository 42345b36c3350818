"""The encoding of audit messages in XML, by the schema of PS3.15 A.5.1.1.

Texts come from the network: what XML 1.0 can't hold becomes U+FFFD, and an attribute has no line
ends. Meanings stand in `originalText`, as the schema requires, and in `displayName`, which older
repositories read.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from xml.sax.saxutils import escape

from dimse_ingestion.audit.codes import APPLICATION_SERVER, Code
from dimse_ingestion.audit.messages import AuditMessage, Participant, ParticipantObject

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IN_ATTRIBUTES = {'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_LONGEST_TEXT = 1024
_MACHINE_NAME, _IP_ADDRESS = "1", "2"  # Network Access Point Type Code


@dataclass(frozen=True, slots=True)
class AuditSource:
    """The system that reports: its id, and its site if that is set."""

    id: str
    site: str = ""


def encode(message: AuditMessage, source: AuditSource) -> bytes:
    """Return a message in UTF-8."""
    parts = (
        '<?xml version="1.0" encoding="UTF-8"?><AuditMessage>',
        _event(message),
        *map(_participant, message.participants),
        _source(source),
        *map(_object, message.objects),
        "</AuditMessage>",
    )
    return "".join(parts).encode()


def _event(message: AuditMessage) -> str:
    children = [_code("EventID", message.event)]
    children += [_code("EventTypeCode", each) for each in message.types]
    if message.outcome_description:
        children.append(_element("EventOutcomeDescription", [], _text(message.outcome_description)))
    attributes = [
        ("EventActionCode", message.action),
        ("EventDateTime", message.time.isoformat(timespec="milliseconds")),
        ("EventOutcomeIndicator", message.outcome),
    ]
    return _element("EventIdentification", attributes, "".join(children))


def _participant(participant: Participant) -> str:
    attributes = [("UserID", participant.user_id)]
    if participant.ae_titles:
        attributes.append(("AlternativeUserID", f"AETITLES={';'.join(participant.ae_titles)}"))
    if participant.user_name:
        attributes.append(("UserName", participant.user_name))
    attributes.append(("UserIsRequestor", "true" if participant.is_requestor else "false"))
    if address := participant.address:
        attributes.append(("NetworkAccessPointID", address))
        attributes.append(("NetworkAccessPointTypeCode", _access_point_type(address)))
    roles = "".join(_code("RoleIDCode", role) for role in participant.roles)
    return _element("ActiveParticipant", attributes, roles)


def _access_point_type(address: str) -> str:
    try:
        ip_address(address.partition("%")[0])
    except ValueError:
        return _MACHINE_NAME
    return _IP_ADDRESS


def _source(source: AuditSource) -> str:
    site = [("AuditEnterpriseSiteID", source.site)] if source.site else []
    kind = _element("AuditSourceTypeCode", [("csd-code", APPLICATION_SERVER)])
    return _element("AuditSourceIdentification", [*site, ("AuditSourceID", source.id)], kind)


def _object(each: ParticipantObject) -> str:
    attributes = [
        ("ParticipantObjectID", each.id),
        ("ParticipantObjectTypeCode", each.type),
        ("ParticipantObjectTypeCodeRole", each.role),
    ]
    children = [
        _code("ParticipantObjectIDTypeCode", each.id_type),
        _element("ParticipantObjectName", [], _text(each.name))
        if each.query is None
        else _element("ParticipantObjectQuery", [], _base64(each.query)),
        *(
            _element("ParticipantObjectDetail", [("type", name), ("value", _base64(value))])
            for name, value in each.details
        ),
    ]
    if each.sop_classes:
        counts = "".join(_sop_classes(each.sop_classes.items()))
        children.append(_element("ParticipantObjectDescription", [], counts))
    return _element("ParticipantObjectIdentification", attributes, "".join(children))


def _sop_classes(counts: Iterable[tuple[str, int]]) -> Iterator[str]:
    for uid, number in counts:
        yield _element("SOPClass", [("UID", uid), ("NumberOfInstances", str(number))])


def _code(name: str, code: Code) -> str:
    attributes = [
        ("csd-code", code.code),
        ("codeSystemName", code.scheme),
        ("displayName", code.meaning),
        ("originalText", code.meaning),
    ]
    return _element(name, attributes)


def _element(name: str, attributes: Iterable[tuple[str, str]], content: str = "") -> str:
    """Return an element; `content` is XML already."""
    written = "".join(f' {key}="{_attribute(value)}"' for key, value in attributes)
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _attribute(value: str) -> str:
    return escape(_valid(value), _IN_ATTRIBUTES)


def _text(value: str) -> str:
    return escape(_valid(value), {"\r": "&#13;"})


def _valid(value: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value[:_LONGEST_TEXT])


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
