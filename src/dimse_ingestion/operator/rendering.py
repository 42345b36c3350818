"""Values become the objects of a release, by the one chart and Helm's own engine.

What `helm template` would write, without hooks (no one runs `helm test` here), each object marked
as its resource's. A claim that is to be kept has no owner, so that it stays when the resource goes.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml
from helm_python import Chart
from helm_python.errors import HelmError

from dimse_ingestion.operator.kinds import GROUP
from dimse_ingestion.operator.resources import Manifest, Resource
from dimse_ingestion.operator.values import SpecMistake, Values

_KEEP = "helm.sh/resource-policy"
_HOOK = "helm.sh/hook"
_FIRST = ("ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "Service")
READ_AT_START = f"{GROUP}/read-at-start"
"""Annotation of a pod: a digest of what it reads once, so that a new one is a new start."""


def chart_folder() -> Path:
    """The chart that this program came with: in its package, or beside its sources."""
    packaged = Path(__file__).parent / "chart"
    beside = Path(__file__).parents[3] / "charts" / "dimse-ingestion"
    return packaged if packaged.exists() else beside


class Renderer:
    """The one chart, loaded once."""

    def __init__(self, folder: Path) -> None:
        self._chart = Chart.load(folder)

    def objects(self, resource: Resource, values: Values) -> list[Manifest]:
        """The release's objects, in the order in which they are made.

        Raises SpecMistake with the chart's own sentences when it doesn't take the values, or when
        an object would stand outside the resource's namespace.
        """
        objects = [*self._rendered(resource, values)]
        if foreign := [each for each in objects if not _stays_within(each, resource)]:
            raise SpecMistake(*map(_foreign, foreign))
        return [_marked(each, resource) for each in sorted(objects, key=_rank)]

    def _rendered(self, resource: Resource, values: Values) -> Iterator[Manifest]:
        try:
            key = resource.key
            files = self._chart.render(values, name=key.name, namespace=key.namespace)
        except HelmError as error:
            raise SpecMistake(*_sentences(str(error))) from None
        for file, text in sorted(files.items()):
            if file.endswith(".yaml"):
                yield from filter(_is_wanted, yaml.safe_load_all(text))


def kept(manifest: Manifest) -> bool:
    """Whether an object outlives its release."""
    annotations = manifest["metadata"].get("annotations") or {}
    return str(annotations.get(_KEEP)) == "keep"


def _is_wanted(manifest: Manifest | None) -> bool:
    if not manifest:
        return False
    return _HOOK not in (manifest.get("metadata", {}).get("annotations") or {})


def _rank(manifest: Manifest) -> int:
    """What a pod needs comes before it."""
    kind = manifest["kind"]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _stays_within(manifest: Manifest, resource: Resource) -> bool:
    """Otherwise whoever may write a resource could write through it wherever the operator may."""
    namespace = manifest["metadata"].get("namespace", resource.key.namespace)
    return bool(namespace == resource.key.namespace)


def _foreign(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return (
        f"{manifest['kind']} {metadata['name']} is of namespace {metadata['namespace']}: "
        "extraObjects are made in the resource's own; make it yourself."
    )


def _marked(manifest: Manifest, resource: Resource) -> Manifest:
    metadata = dict(manifest["metadata"])
    metadata["namespace"] = resource.key.namespace
    metadata["labels"] = (metadata.get("labels") or {}) | resource.key.labels
    if not kept(manifest):
        metadata["ownerReferences"] = [resource.owner_reference]
    return manifest | {"metadata": metadata}


def _sentences(said: str) -> list[str]:
    """What the chart says, a mistake each; or what Helm says of values that its schema refuses."""
    lines = [line.strip() for line in said.splitlines()]
    told = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return told or [" ".join(line for line in lines if line)]
