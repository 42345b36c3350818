"""A chart's README.md from values.yaml, Chart.yaml and the examples' first lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from harness.chart.values_file import Section, Value

_HEAD = """\
# {name}

{description}.

{about}
`values.schema.json` refuses a key that is unknown and a value of the wrong kind{mistakes}. This
file and the schema are made from `values.yaml` by `make chart-documents`.
"""
_ABOUT = {
    "dimse-ingestion": """\
```sh
helm install radiology charts/dimse-ingestion --namespace imaging --create-namespace \\
  --values radiology.yaml
```

One release is one storage space. This is version {version}, for Kubernetes {kubernetes} or newer.

- [docs/kubernetes.md](../../docs/kubernetes.md) describes each task
- [docs/operating.md](../../docs/operating.md) has settings, metrics and the runbook
- `NOTES.txt` prints the `proxy.yaml` for the imaging zone
- `helm test` proves the release
""",
    "dimse-ingestion-operator": """\
```sh
helm install imaging charts/dimse-ingestion-operator --namespace imaging-operator \\
  --create-namespace
```

One release serves a cluster. This is version {version}, for Kubernetes {kubernetes} or newer.
[docs/operator.md](../../docs/operator.md) describes the resources' fields and status.
""",
}
_MISTAKES = "; values that don't\ngo together end in a sentence for each"


def readme_text(chart: Path, sections: tuple[Section, ...]) -> str:
    """Return the file's content."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    oldest = _oldest(about["kubeVersion"])
    head = _HEAD.format(
        name=about["name"],
        description=about["description"],
        about=_ABOUT[about["name"]].format(kubernetes=oldest, version=about["version"]),
        mistakes=_MISTAKES if (chart / "templates" / "validate.yaml").exists() else "",
    )
    parts = [head, *_examples(chart), "## Values\n", *map(_section, sections)]
    return "\n".join(parts)


def _oldest(versions: str) -> str:
    """Return the version in `>=1.30.0-0` for a reader."""
    return versions.removeprefix(">=").removesuffix("-0").removesuffix(".0")


def _examples(chart: Path) -> Iterator[str]:
    yield "## To copy\n"
    yield "| file | what it is |\n|---|---|"
    for file in sorted((chart / "examples").rglob("*")):
        if file.is_file():
            name = file.relative_to(chart)
            yield f"| [{name}]({name}) | {_cell(_first_sentence(file))} |"
    yield ""


def _first_sentence(file: Path) -> str:
    """Return the first comment lines of an example."""
    words: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        message = line.removeprefix("#").strip()
        if not line.startswith("#") or not message:
            break
        words.append(message)
        if message.endswith("."):
            break
    return " ".join(words).split(". ")[0].removesuffix(".") + "."


def _section(section: Section) -> str:
    text = f"{section.text}\n\n" if section.text else ""
    rows = "\n".join(map(_row, section.values))
    return f"### {section.heading}\n\n{text}| value | default | meaning |\n|---|---|---|\n{rows}\n"


def _row(value: Value) -> str:
    meaning = " ".join(part for part in (value.sentence, _taken(value.fragment)) if part)
    return f"| `{value.name}` | {_shown(value.default)} | {_cell(meaning)} |"


def _taken(fragment: dict[str, Any]) -> str:
    """Return what an enumeration, or a map of named keys, accepts."""
    if "enum" in fragment:
        return f"One of {_listed(fragment['enum'])}."
    if fragment.get("additionalProperties") is False and "properties" in fragment:
        return f"Keys: {_listed(fragment['properties'])}."
    return ""


def _listed(names: Any) -> str:
    return ", ".join(f"`{name if isinstance(name, str) else json.dumps(name)}`" for name in names)


def _shown(default: Any) -> str:
    text = json.dumps(default, ensure_ascii=False)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
