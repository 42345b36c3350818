"""Objects of a release: the chart's, each marked as its resource's, and none elsewhere."""

from typing import Any

import pytest

from dimse_ingestion.operator.kinds import DIMSE_INGESTION_SERVICE
from dimse_ingestion.operator.references import references
from dimse_ingestion.operator.render import Renderer, chart_folder, has_keep_policy
from dimse_ingestion.operator.resources import Manifest, owner_of
from dimse_ingestion.operator.values import SpecMistake, Values, values_of
from harness.chart.rendering import rendered
from tests.unit.operator.resources import SPEC, resource

RENDERER = Renderer(chart_folder())
OWN_CATALOGUE = {"dicomEventDrivenIngestionName": ""}


def values(**spec: Any) -> Values:
    return values_of(DIMSE_INGESTION_SERVICE, "img-ingest", SPEC | spec)


def objects(**spec: Any) -> list[Manifest]:
    return RENDERER.render(resource(SPEC | spec), values(**spec))


def test_objects_are_those_of_helm_template() -> None:
    helms = rendered(values(), name="img-ingest").manifests
    ours = objects()
    assert sorted((each["kind"], each["metadata"]["name"]) for each in ours) == sorted(
        (each["kind"], each["metadata"]["name"]) for each in helms
    )
    specs = {each["kind"]: each.get("spec") for each in helms}
    assert all(each.get("spec") == specs[each["kind"]] for each in ours)


def test_each_is_marked_and_goes_with_its_resource() -> None:
    key = resource().key
    for each in objects():
        metadata = each["metadata"]
        assert owner_of(metadata["labels"], metadata["namespace"]) == key
        assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["one"]


def test_a_claim_to_retain_has_no_owner() -> None:
    keep = {"catalogue": {"persistence": {"keep": True}}}
    claims = {
        has_keep_policy(each): "ownerReferences" in each["metadata"]
        for more in ({}, keep)
        for each in objects(**OWN_CATALOGUE, values=more)
        if each["kind"] == "PersistentVolumeClaim"
    }
    assert claims == {True: False, False: True}


def test_what_a_pod_needs_is_made_before_it() -> None:
    kinds = [each["kind"] for each in objects(**OWN_CATALOGUE)]
    for first in ("ServiceAccount", "PersistentVolumeClaim", "Service"):
        assert kinds.index(first) < kinds.index("Deployment")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"natsUrl": ""}, "natsUrl is missing"),
        ({"values": {"ingestoin": {}}}, "ingestoin"),
        (
            {
                "values": {
                    "extraObjects": [
                        {
                            "apiVersion": "v1",
                            "kind": "ConfigMap",
                            "metadata": {"name": "a", "namespace": "kube-system"},
                        }
                    ]
                }
            },
            "ConfigMap a is in namespace kube-system",
        ),
    ],
)
def test_what_the_chart_does_not_take_is_reported(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecMistake, match=message):
        objects(**spec)


def named(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("hello", "hello is no object"),
        ("kind: [unclosed", "is not YAML"),
        ("{{ fail", "extraobjects"),
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, "has no apiVersion or no kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "has no valid metadata.name"),
        (named(), "has no valid metadata.name"),
        (named(name=5), "has no valid metadata.name"),
        (named(name="x/y z"), "has no valid metadata.name"),
        (named(name="a", labels="b"), "ConfigMap a: metadata.labels must be a map"),
        (named(name="a", annotations=["b"]), "metadata.annotations must be a map"),
        ({"apiVersion": "v1", "kind": "List", "items": [named(name="a")]}, "a List is not taken"),
    ],
)
def test_what_is_no_object_is_reported(extra: Any, message: str) -> None:
    with pytest.raises(SpecMistake, match=message):
        objects(values={"extraObjects": [extra]})


def missing(**spec: Any) -> list[str]:
    named = references(objects(**spec), values(**spec), "imaging")
    return [each.missing for each in named]


def test_what_is_named_is_sought_in_the_objects() -> None:
    *mounted, catalogue = missing()
    assert mounted == [
        "Missing bucket ConfigMap img-ingest-s3.",
        "Missing bucket Secret img-ingest-s3.",
        "Missing catalogue Secret core-catalogue.",
        "Missing NATS credential Secret nats-token.",
    ]
    assert "no Service core-catalogue in namespace imaging" in catalogue
    assert "Make the DicomEventDrivenIngestion" in catalogue


def test_what_the_release_makes_is_not_sought() -> None:
    assert not [each for each in missing(**OWN_CATALOGUE) if "catalogue" in each]


def test_a_catalogue_elsewhere_is_sought_there() -> None:
    secret, service = [
        each for each in missing(dicomEventDrivenIngestionName="core.other") if "catalogue" in each
    ]
    assert secret == "Missing catalogue Secret core-catalogue."  # in its own namespace
    assert "in namespace other" in service


def test_a_broker_in_place_of_the_catalogue_is_not_sought() -> None:
    elsewhere = {"eventSink": "http://broker", "queryEndpoint": "http://catalogue"}
    assert not [each for each in missing(**elsewhere) if "catalogue" in each]


def test_further_volumes_are_sought_unless_they_may_be_missing() -> None:
    volumes = [
        {"name": "a", "secret": {"secretName": "needed"}},
        {"name": "b", "secret": {"secretName": "not-needed", "optional": True}},
    ]
    more = {"ingestion": {"extraVolumes": volumes}}
    assert "Missing Secret needed." in missing(values=more)
    assert "Missing Secret not-needed." not in missing(values=more)
    assert "Missing image pull Secret key." in missing(imagePullSecrets=[{"name": "key"}])
