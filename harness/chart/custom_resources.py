"""files/fields.json of the operator's chart: values of the one chart as fields of a CRD.

So a field is described once, in values.yaml. Which resource has which of them is not known here.
"""

import json
from collections.abc import Iterable
from typing import Any

from harness.chart.schema import value_schema
from harness.chart.values_file import Section, Value

_SECTIONS = ("The storage space", "Image")
_INNER = (
    "audit.caSecret",
    "audit.clientCertificateSecret",
    "audit.repository",
    "audit.siteId",
    "catalogue.database.secretName",
    "catalogue.replicas",
    "dicomweb.replicas",
    "proxy.natsTokenSecret",
    "proxy.peerCaSecret",
    "proxy.peers",
    "proxy.retrieve",
    "proxy.proxyId",
    "proxy.tlsClientCaSecret",
    "proxy.tlsSecret",
)
_OF_THE_OPERATOR = ("image",)
"""Its default is not the chart's but the operator's own image."""


def fields_text(sections: Iterable[Section]) -> str:
    """Return the file's content."""
    fields = {
        value.name: field_schema(value)
        for section in sections
        for value in section.values
        if value.name in _INNER or (section.heading in _SECTIONS and len(value.path) == 1)
    }
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def field_schema(value: Value) -> dict[str, Any]:
    """Return a value's schema as a structural one; an empty default is left out."""
    schema: dict[str, Any] = _structural(value_schema(value))
    if "enum" in schema:
        schema["type"] = "string"
    if not value.default and not isinstance(value.default, bool | int):
        schema.pop("default")
    if value.name in _OF_THE_OPERATOR:
        schema.pop("default")
        schema["description"] = "Image of the pods; by default the operator's."
    return schema


def _structural(schema: Any) -> Any:
    """Drop `additionalProperties: false`: an API server prunes unknown fields by itself."""
    if isinstance(schema, list):
        return [_structural(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _structural(content)
        for key, content in schema.items()
        if not (key == "additionalProperties" and content is False)
    }
