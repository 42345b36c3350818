"""Values become the objects of a release, by the one chart and Helm's own engine.

What `helm template` would write, without hooks (no one runs `helm test` here), each object marked
as its resource's. A claim that is to be kept has no owner, so that it stays when the resource goes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart
from helm_python.errors import HelmError

from dimse_ingestion.operator.kinds import GROUP
from dimse_ingestion.operator.resources import Manifest, Resource
from dimse_ingestion.operator.values import SpecMistake, Values

_KEEP = "helm.sh/resource-policy"
_HOOK = "helm.sh/hook"
_GENERATED = f"{GROUP}/generated"
_FIRST = ("ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service")
_SHOWN = 60
_UNFIT_FOR_A_NAME = re.compile(r"[/%\s]")
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
        if unfit := [sentence for each in objects for sentence in _why_unfit(each)]:
            raise SpecMistake(*unfit)
        if foreign := [each for each in objects if not _stays_within(each, resource)]:
            raise SpecMistake(*map(_foreign, foreign))
        return [_marked(each, resource) for each in sorted(objects, key=_rank)]

    def _rendered(self, resource: Resource, values: Values) -> Iterator[Any]:
        try:
            key = resource.key
            files = self._chart.render(values, name=key.name, namespace=key.namespace)
        except HelmError as error:
            raise SpecMistake(*_sentences(str(error))) from None
        for file, text in sorted(files.items()):
            if file.endswith(".yaml"):
                yield from filter(_is_wanted, _read(file, text))


def kept(manifest: Manifest) -> bool:
    """Whether an object outlives its release."""
    annotations = manifest["metadata"].get("annotations") or {}
    return str(annotations.get(_KEEP)) == "keep"


def is_generated(manifest: Manifest) -> bool:
    """Return whether each rendering makes other content, so that only the first one counts.

    Of type Opaque alone: extraObjects must not have credentials of the cluster made by this way.
    """
    annotations = manifest["metadata"].get("annotations") or {}
    is_opaque = manifest["kind"] == "Secret" and manifest.get("type") == "Opaque"
    return is_opaque and _GENERATED in annotations


def _read(file: str, text: str) -> list[Any]:
    """What a rendered file says.

    Raises SpecMistake: the chart's own are YAML, extraObjects may not be.
    """
    try:
        return [*yaml.safe_load_all(text)]
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise SpecMistake(f"{Path(file).name} is no YAML: {said}.") from None


def _is_wanted(manifest: Any) -> bool:
    return bool(manifest) and not (isinstance(manifest, dict) and _is_hook(manifest))


def _is_hook(manifest: Manifest) -> bool:
    metadata = manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and _HOOK in annotations


def _why_unfit(manifest: Any) -> Iterator[str]:
    """A sentence when something is no object of Kubernetes, which only extraObjects may bring."""
    if not isinstance(manifest, dict):
        yield f"extraObjects: {_short(manifest)} is no object: write apiVersion, kind and metadata."
        return
    kind, metadata = manifest.get("kind"), manifest.get("metadata")
    if not all(_is_word(manifest.get(each)) for each in ("apiVersion", "kind")):
        yield f"extraObjects: {_short(manifest)} has no apiVersion or no kind: write both."
    elif kind == "List" or "items" in manifest:
        yield f"extraObjects: a {kind} is not taken: write each of its items by itself."
    elif not isinstance(metadata, dict) or not _is_name(metadata.get("name")):
        yield f"extraObjects: a {kind} has no metadata.name that could be one: correct it."
    else:
        for each in ("labels", "annotations"):
            if not isinstance(metadata.get(each) or {}, dict):
                yield f"extraObjects: {kind} {metadata['name']}: metadata.{each} is to be a map."


def _is_word(said: Any) -> bool:
    return isinstance(said, str) and bool(said)


def _is_name(said: Any) -> bool:
    """Whether it could be a part of a URL, as each name is; the API server says the rest."""
    return _is_word(said) and not _UNFIT_FOR_A_NAME.search(said) and said not in (".", "..")


def _short(said: Any) -> str:
    text = str(said)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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
