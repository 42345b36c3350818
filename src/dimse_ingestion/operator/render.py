"""Rendering of a release's objects from values, by the one chart and Helm's own engine.

The result is that of `helm template` without hooks (nobody runs `helm test` here), each object
labelled as its resource's. A claim that must remain has no owner, so that it outlives the
resource.
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
"""Annotation of a pod with a digest of what it reads at start, so that changes restart it."""


def chart_folder() -> Path:
    """Return the folder of the chart: in this package, or beside the sources."""
    packaged = Path(__file__).parent / "chart"
    beside = Path(__file__).parents[3] / "charts" / "dimse-ingestion"
    return packaged if packaged.exists() else beside


class Renderer:
    """Renders the one chart, which is loaded once."""

    def __init__(self, folder: Path) -> None:
        self._chart = Chart.load(folder)

    def render(self, resource: Resource, values: Values) -> list[Manifest]:
        """Return the release's objects, in the order in which they are applied.

        Raises SpecMistake with the chart's own sentences when it refuses the values, or when an
        object would be outside the resource's namespace.
        """
        objects = [*self._render_files(resource, values)]
        if mistakes := [sentence for each in objects for sentence in _object_mistakes(each)]:
            raise SpecMistake(*mistakes)
        if foreign := [each for each in objects if not _is_in_namespace(each, resource)]:
            raise SpecMistake(*map(_foreign_mistake, foreign))
        return [_with_owner(each, resource) for each in sorted(objects, key=_rank)]

    def _render_files(self, resource: Resource, values: Values) -> Iterator[Any]:
        try:
            key = resource.key
            files = self._chart.render(values, name=key.name, namespace=key.namespace)
        except HelmError as error:
            raise SpecMistake(*_sentences(str(error))) from None
        for file, text in sorted(files.items()):
            if file.endswith(".yaml"):
                yield from filter(_is_wanted, _parse(file, text))


def has_keep_policy(manifest: Manifest) -> bool:
    """Return whether an object outlives its release."""
    annotations = manifest["metadata"].get("annotations") or {}
    return str(annotations.get(_KEEP)) == "keep"


def is_generated(manifest: Manifest) -> bool:
    """Return whether each rendering has other content (a generated token), so that the first stays.

    Of type Opaque alone: extraObjects must not create credentials of the cluster this way.
    """
    annotations = manifest["metadata"].get("annotations") or {}
    is_opaque = manifest["kind"] == "Secret" and manifest.get("type") == "Opaque"
    return is_opaque and _GENERATED in annotations


def _parse(file: str, text: str) -> list[Any]:
    """Parse a rendered file.

    Raises SpecMistake: the chart's own files are YAML, extraObjects may not be.
    """
    try:
        return [*yaml.safe_load_all(text)]
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise SpecMistake(f"{Path(file).name} is not YAML: {text}.") from None


def _is_wanted(manifest: Any) -> bool:
    return bool(manifest) and not (isinstance(manifest, dict) and _is_hook(manifest))


def _is_hook(manifest: Manifest) -> bool:
    metadata = manifest.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and _HOOK in annotations


def _object_mistakes(manifest: Any) -> Iterator[str]:
    """Return sentences about what is no Kubernetes object, which only extraObjects can cause."""
    if not isinstance(manifest, dict):
        yield f"extraObjects: {_short(manifest)} is no object: write apiVersion, kind and metadata."
        return
    kind, metadata = manifest.get("kind"), manifest.get("metadata")
    if not all(_is_word(manifest.get(each)) for each in ("apiVersion", "kind")):
        yield f"extraObjects: {_short(manifest)} has no apiVersion or no kind: write both."
    elif kind == "List" or "items" in manifest:
        yield f"extraObjects: a {kind} is not taken: write each of its items by itself."
    elif not isinstance(metadata, dict) or not _is_name(metadata.get("name")):
        yield f"extraObjects: a {kind} has no valid metadata.name: correct it."
    else:
        for each in ("labels", "annotations"):
            if not isinstance(metadata.get(each) or {}, dict):
                yield f"extraObjects: {kind} {metadata['name']}: metadata.{each} must be a map."


def _is_word(text: Any) -> bool:
    return isinstance(text, str) and bool(text)


def _is_name(text: Any) -> bool:
    """Return whether it fits into a URL, as each name must; the API server checks the rest."""
    return _is_word(text) and not _UNFIT_FOR_A_NAME.search(text) and text not in (".", "..")


def _short(text: Any) -> str:
    text = str(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _rank(manifest: Manifest) -> int:
    """Return the order of applying: what a pod needs comes before it."""
    kind = manifest["kind"]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _is_in_namespace(manifest: Manifest, resource: Resource) -> bool:
    """Return whether an object is in the resource's namespace.

    Otherwise, whoever may write a resource could write wherever the operator may.
    """
    namespace = manifest["metadata"].get("namespace", resource.key.namespace)
    return bool(namespace == resource.key.namespace)


def _foreign_mistake(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    return (
        f"{manifest['kind']} {metadata['name']} is in namespace {metadata['namespace']}: "
        "extraObjects are created in the resource's own namespace; create it yourself."
    )


def _with_owner(manifest: Manifest, resource: Resource) -> Manifest:
    metadata = dict(manifest["metadata"])
    metadata["namespace"] = resource.key.namespace
    metadata["labels"] = (metadata.get("labels") or {}) | resource.key.labels
    if not has_keep_policy(manifest):
        metadata["ownerReferences"] = [resource.owner_reference]
    return manifest | {"metadata": metadata}


def _sentences(text: str) -> list[str]:
    """Return the chart's sentences, one for each mistake, or Helm's message about the schema."""
    lines = [line.strip() for line in text.splitlines()]
    mistakes = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return mistakes or [" ".join(line for line in lines if line)]
