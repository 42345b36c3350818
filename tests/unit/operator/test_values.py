"""A spec becomes the values whose manifests are those of `helm template` with a file of them."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import pytest
import yaml

from dimse_ingestion.operator.kinds import (
    DICOM_EVENT_DRIVEN_INGESTION,
    DICOMWEB_INGESTION_SERVICE,
    DIMSE_INGESTION_SERVICE,
    DIMSE_PROXY,
    KINDS,
    OPEN_FIELD,
    Kind,
)
from dimse_ingestion.operator.render import is_generated
from dimse_ingestion.operator.values import SpecMistake, merge, values_of
from harness.chart import CHART
from harness.chart.rendering import Manifest, Rendering, rendered, shipped_values
from harness.chart.values_file import read
from harness.chart.values_file import values_of as chart_values

SPACE = {
    "bucketConfigName": "img-ingest-s3",
    "bucketSecretName": "img-ingest-s3",
    "dicomEventDrivenIngestionName": "core",
    "providerName": "provider",
}
NATS = {
    "natsUrl": "0a0527d6.nip.io:443",
    "natsSubjectRoot": "DIMSE",
    "natsSecure": True,
    "natsTokenSecret": "nats-dicom-ingest-token-lhllv",
}
EXAMPLE = SPACE | {"applicationEntityTitle": "DICOM-INGEST"} | NATS

PEERS = [
    {"aeTitle": "WORKSTATION1", "may": ["move", "get"]},
    {"aeTitle": "CT1", "host": "ct1.example.org", "port": 2762, "tls": True, "may": ["commit"]},
]
SPOOLED = {
    "settings": {"acknowledge": "spooled", "storageCommitment": {"enabled": True}},
    "spoolVolume": {"persistentVolumeClaim": {"claimName": "spool"}},
}

SPECS: dict[str, tuple[Kind, dict[str, Any], dict[str, Any]]] = {
    # a kind, a spec of it, and the values file that a person would write for the same
    "the issue's example": (
        DIMSE_INGESTION_SERVICE,
        EXAMPLE,
        EXAMPLE
        | {
            "dicomweb": {"enabled": False},
            "serviceAccount": {"name": "img-ingest-ingestion"},
            "test": {"enabled": False},
        },
    ),
    "DICOMweb beside it": (
        DICOMWEB_INGESTION_SERVICE,
        SPACE | {"replicas": 3},
        SPACE
        | {
            "ingestion": {"enabled": False},
            "dicomweb": {"enabled": True, "replicas": 3},
            "serviceAccount": {"name": "img-ingest-dicomweb"},
        },
    ),
    "a catalogue on PostgreSQL": (
        DICOM_EVENT_DRIVEN_INGESTION,
        {"databaseSecretName": "database", "replicas": 2},
        {
            "ingestion": {"enabled": False},
            "catalogue": {"replicas": 2, "database": {"secretName": "database"}},
            "serviceAccount": {"name": "img-ingest-catalogue"},
        },
    ),
    "a proxy in the cluster": (
        DIMSE_PROXY,
        NATS | {"proxyId": "ward7", "tlsSecret": "dicom-tls", "applicationEntityTitle": "WARD"},
        NATS
        | {
            "natsTokenSecret": "",
            "applicationEntityTitle": "WARD",
            "ingestion": {"enabled": False},
            "catalogue": {"enabled": False},
            "proxy": {
                "enabled": True,
                "proxyId": "ward7",
                "tlsSecret": "dicom-tls",
                "natsTokenSecret": NATS["natsTokenSecret"],
            },
            "serviceAccount": {"name": "img-ingest-proxy"},
        },
    ),
    "a proxy that spools, commits and gives images back": (
        DIMSE_PROXY,
        NATS
        | {"peers": PEERS, "retrieve": {"enabled": True}, "peerCaSecret": "peers"}
        | {"values": {"proxy": SPOOLED}},
        NATS
        | {
            "natsTokenSecret": "",
            "ingestion": {"enabled": False},
            "catalogue": {"enabled": False},
            "proxy": {
                "enabled": True,
                "proxyId": "img-ingest",
                "natsTokenSecret": NATS["natsTokenSecret"],
                "peers": PEERS,
                "retrieve": {"enabled": True},
                "peerCaSecret": "peers",
                **SPOOLED,
            },
            "serviceAccount": {"name": "img-ingest-proxy"},
        },
    ),
}


def of_spec(kind: Kind, spec: dict[str, Any], name: str = "img-ingest") -> Rendering:
    return rendered(values_of(kind, name, spec), name=name)


@pytest.mark.parametrize("which", SPECS)
def test_manifests_are_those_of_a_values_file(which: str) -> None:
    kind, spec, file = SPECS[which]
    ours, theirs = of_spec(kind, spec), rendered(file, name="img-ingest")
    assert without_generated(ours.manifests) == without_generated(theirs.manifests)


def without_generated(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Return it with only the keys of values that each rendering generates."""
    return [
        each | {"data": sorted(each["data"])} if is_generated(each) else each for each in manifests
    ]


@pytest.mark.parametrize("which", SPECS)
def test_only_the_kinds_component_runs(which: str) -> None:
    kind, spec, _ = SPECS[which]
    assert [pod.component for pod in of_spec(kind, spec).pods()] == [kind.component]


@pytest.mark.parametrize("file", ["examples/radiology.yaml", "examples/cardiology.yaml"])
def test_values_file_of_a_space_is_a_spec(file: str) -> None:
    space = shipped_values(file)
    assert space.keys() <= DIMSE_INGESTION_SERVICE.fields.keys()
    ours = of_spec(DIMSE_INGESTION_SERVICE, space).pod("ingestion")
    assert (
        ours.environment["K_SINK"]
        == (rendered(space, name="img-ingest").pod("ingestion").environment["K_SINK"])
    )


def test_space_finds_the_catalogue_that_it_names() -> None:
    core = of_spec(DICOM_EVENT_DRIVEN_INGESTION, {}, name="core")
    services = [each["metadata"]["name"] for each in core.of_kind("Service")]
    request = of_spec(DIMSE_INGESTION_SERVICE, EXAMPLE).pod("ingestion").environment
    assert request["QUERY_ENDPOINT"] == f"https://{services[0]}:8443"
    assert services == ["core-catalogue"]


def test_space_and_its_catalogue_may_have_one_name() -> None:
    spec = EXAMPLE | {"dicomEventDrivenIngestionName": "core"}
    space = of_spec(DIMSE_INGESTION_SERVICE, spec, name="core")
    assert {pod.component for pod in space.pods()} == {"ingestion"}


def test_space_that_names_no_catalogue_runs_its_own() -> None:
    spec = EXAMPLE | {"dicomEventDrivenIngestionName": ""}
    components = {pod.component for pod in of_spec(DIMSE_INGESTION_SERVICE, spec).pods()}
    assert components == {"ingestion", "catalogue"}


def test_resources_of_one_name_share_no_object() -> None:
    objects: dict[str, set[tuple[str, str]]] = {}
    for kind, spec, _ in SPECS.values():
        names = {(each["kind"], each["metadata"]["name"]) for each in of_spec(kind, spec).manifests}
        objects.setdefault(kind.name, set()).update(names)
    for one, other in combinations(objects.values(), 2):
        assert not one & other


def test_a_long_name_is_shortened_as_the_chart_does() -> None:
    name = f"{'a' * 45}-{'b' * 10}"
    for manifest in of_spec(DICOM_EVENT_DRIVEN_INGESTION, {}, name=name).manifests:
        assert manifest["metadata"]["name"] == f"{'a' * 45}-catalogue"


def test_open_field_reaches_whatever_the_chart_can_do() -> None:
    spec = EXAMPLE | {"values": {"ingestion": {"podLabels": {"ward": "7"}}, "logLevel": "debug"}}
    pod = of_spec(DIMSE_INGESTION_SERVICE, spec).pod("ingestion")
    assert pod.labels["ward"] == "7"
    assert pod.environment["DIMSE_LOG_LEVEL"] == "debug"


def test_open_field_may_enable_another_component() -> None:
    spec = EXAMPLE | {"values": {"dicomweb": {"enabled": True}}}
    components = {pod.component for pod in of_spec(DIMSE_INGESTION_SERVICE, spec).pods()}
    assert components == {"ingestion", "dicomweb"}


def test_a_space_may_run_its_proxy_with_all_that_a_proxy_can() -> None:
    own = {"enabled": True, "proxyId": "ward7", "peers": PEERS, "retrieve": {"enabled": True}}
    spec = EXAMPLE | {"values": {"proxy": own | SPOOLED}}
    rendering = of_spec(DIMSE_INGESTION_SERVICE, spec)
    assert {pod.component for pod in rendering.pods()} == {"ingestion", "proxy"}
    (config,) = rendering.of_kind("ConfigMap")
    file = yaml.safe_load(config["data"]["proxy.yaml"])
    assert (file["acknowledge"], file["peers"]) == ("spooled", PEERS)
    assert file["retrieve"] == file["storageCommitment"] == {"enabled": True}


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (DIMSE_INGESTION_SERVICE, {"natsUrl": "a:1"}, "set it in spec.natsUrl"),
        (DICOMWEB_INGESTION_SERVICE, {"dicomweb": {"replicas": 1}}, "set it in spec.replicas"),
        (DIMSE_PROXY, {"proxy": {"enabled": False}}, "a DimseProxy always runs it"),
    ],
)
def test_what_has_a_field_is_not_set_twice(
    kind: Kind, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecMistake, match=message):
        values_of(kind, "img-ingest", {OPEN_FIELD: values})


def test_defaults_of_the_operator_give_way_to_the_spec() -> None:
    defaults = {"image": "registry.example.org/dimse-ingestion:1"}
    ours = values_of(DIMSE_PROXY, "ward7", {}, defaults)
    assert ours["image"] == defaults["image"]
    chosen = values_of(DIMSE_PROXY, "ward7", {"image": "mine:2"}, defaults)
    assert chosen["image"] == "mine:2"


def test_proxys_id_is_its_name_unless_given() -> None:
    assert values_of(DIMSE_PROXY, "ward7.south", {})["proxy"]["proxyId"] == "ward7-south"
    assert values_of(DIMSE_PROXY, "ward7", {"proxyId": "x"})["proxy"]["proxyId"] == "x"


def test_merging_changes_neither_side() -> None:
    below, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(below, over) == {"a": {"b": 1, "c": 2}}
    assert (below, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_is_a_value_of_the_chart(kind: Kind) -> None:
    values = {value.path for value in chart_values(CHART / "values.yaml")}
    assert set(kind.fields.values()) <= values


def test_every_value_of_a_space_is_a_field() -> None:
    """So that a value that is added to the chart is not forgotten here.

    `bucketFolder` is for one machine. `audit.limit` has two types, and goes in `values`.
    """
    sections = {section.heading: section.values for section in read(CHART / "values.yaml")}
    output = {path for kind in KINDS for path in kind.fields.values()}
    for heading in ("The storage space", "Image"):
        for value in sections[heading]:
            is_left_to_values = value.path[0] == "bucketFolder" or value.path == ("audit", "limit")
            assert value.path in output or is_left_to_values, value.name
