"""What a resource's release is made of, against what the helm program writes of the same values."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
import yaml

from dimse_ingestion.operator.render import Renderer, chart_folder, is_generated
from dimse_ingestion.operator.resources import MANAGED_BY, Key, Manifest, Resource
from dimse_ingestion.operator.values import Values, values_of
from harness.commands import output
from harness.tools import installed_tool
from tests.integration.operator.namespace_api import example

RENDERER = Renderer(chart_folder())


@pytest.mark.parametrize("name", ["core", "img-ingest", "img-ingest-web", "ward7"])
def test_objects_are_those_of_helm_except_for_their_owner(name: str) -> None:
    manifest = example(f"{name}.yaml")
    resource = resource_of(manifest)
    values = values_of(resource.kind, resource.key.name, resource.spec)
    ours = [unmarked(each, resource) for each in RENDERER.render(resource, values)]
    assert by_name(ours) == by_name(map(without_generated, by_helm(resource.key, values)))


def by_helm(key: Key, values: Values) -> list[Manifest]:
    helm = installed_tool("helm")
    if helm is None:
        pytest.skip("there is no helm on PATH: make helm")
    written = output(
        *(helm, "template", key.name, chart_folder(), "--namespace", key.namespace),
        *("--no-hooks", "--values", "-"),
        given=json.dumps(values),
    )
    return [each for each in yaml.safe_load_all(written) if each]


def by_name(manifests: Iterable[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests}


def unmarked(manifest: Manifest, resource: Resource) -> Manifest:
    """Return it without the labels and annotations of the operator."""
    metadata: dict[str, Any] = dict(manifest["metadata"])
    metadata.pop("ownerReferences", None)
    marks = resource.key.labels
    assert metadata["labels"].items() >= marks.items()
    labels = {k: v for k, v in metadata["labels"].items() if k not in marks}
    metadata["labels"] = labels | {MANAGED_BY: "Helm"}
    return without_generated({**manifest, "metadata": metadata})


def without_generated(manifest: Manifest) -> Manifest:
    """Return it with only the keys of values that each rendering generates."""
    if not is_generated(manifest):
        return manifest
    return {**manifest, "data": sorted(manifest["data"])}


def resource_of(manifest: Manifest) -> Resource:
    metadata = {"namespace": "imaging", "uid": "one", "generation": 1, **manifest["metadata"]}
    return Resource({**manifest, "metadata": metadata})
