"""Each example is complete: whoever follows its own lines has everything that it names."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml

from harness.chart import CHART, OPERATOR_CHART
from harness.chart.rendering import Rendering, rendered, shipped_values

EXAMPLES = sorted(file.name for file in (CHART / "examples").glob("*.yaml"))
FILES = [file for file in (CHART / "examples").rglob("*") if file.is_file()]
# made by the hospital, or as docs/kubernetes.md describes
BROUGHT = {"ingestion.creds", "helm-test.creds", "hospital-ca.pem", "client.pem", "client-key.pem"}
ABOUT = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))


def _commands(name: str) -> str:
    """Return the indented lines of an example's comment, with continued lines joined."""
    text = (CHART / "examples" / name).read_text(encoding="utf-8")
    lines = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    return "\n".join(lines).replace("\\\n", "")


def _named(rendering: Rendering) -> Iterator[tuple[str, str]]:
    """Yield the Secrets and ConfigMaps that pods mount."""
    for pod in rendering.pods():
        for volume in pod.spec["volumes"]:
            if "secret" in volume:
                yield "secret", volume["secret"]["secretName"]
            if "configMap" in volume:
                yield "configmap", volume["configMap"]["name"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_image_is_one_of_a_registry_and_of_this_version(name: str) -> None:
    image = shipped_values(f"examples/{name}")["image"]
    assert image == f"registry.example.org/dimse-ingestion:{ABOUT['appVersion']}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_everything_that_is_named_is_made(name: str) -> None:
    rendering = rendered(shipped_values(f"examples/{name}"))
    commands = _commands(name)
    own = {*_own(rendering), *_of_the_catalogue(rendering)}
    for kind, wanted in _named(rendering):
        made = re.search(rf"create {kind} (generic |tls )?{wanted} ", commands)
        assert made or (kind, wanted) in own, wanted


def _own(rendering: Rendering) -> Iterator[tuple[str, str]]:
    """Yield the Secrets and ConfigMaps that a release makes."""
    for each in rendering.of_kind("Secret", "ConfigMap"):
        yield each["kind"].lower(), each["metadata"]["name"]


def _of_the_catalogue(rendering: Rendering) -> Iterator[tuple[str, str]]:
    """Yield those of the catalogue's release, where that is in the same namespace."""
    if rendering.values["dicomEventDrivenIngestionName"] == "core":
        yield from _own(rendered(shipped_values("examples/core.yaml"), name="core"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_commands_name_files_that_exist(name: str) -> None:
    commands = _commands(name)
    written = set(re.findall(r"cat > (\S+)", commands))
    files = set(re.findall(r"[\w-]+\.(?:yaml|json|creds|pem)\b(?!=)", commands))
    assert files <= BROUGHT | written | set(EXAMPLES)
    assert f"-f {name}" in commands
    if ".creds" in commands:
        assert "docs/kubernetes.md" in (CHART / "examples" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_namespace_is_made_by_the_first_that_uses_it(name: str) -> None:
    """Only radiology.yaml comes second, to core.yaml."""
    (namespace,) = re.findall(r"helm install \S+ \S+ -n (\S+)", _commands(name))
    made = f"kubectl create namespace {namespace}" in _commands(name)
    assert made == (name != "radiology.yaml")


def test_what_a_command_sets_is_used_and_what_is_used_is_set() -> None:
    for name in EXAMPLES:
        commands = _commands(name)
        assert set(re.findall(r"\$(\w+)", commands)) == set(re.findall(r"(?m)^(\w+)=", commands))


def test_policy_of_minio_is_the_least_that_amazons_example_has() -> None:
    (text,) = re.findall(r"<<'END'\n(.+?)\nEND", _commands("minio.yaml"), re.DOTALL)
    policy = json.loads(text)
    actions = {action for each in policy["Statement"] for action in each["Action"]}
    comment = (CHART / "examples/s3.yaml").read_text(encoding="utf-8")
    assert actions == set(re.findall(r"s3:[A-Z]\w+", comment))
    assert all("arn:aws:s3:::radiology" in each["Resource"][0] for each in policy["Statement"])


def test_nothing_is_installed_that_no_index_has() -> None:
    for file in FILES:
        assert "pip install dimse-ingestion" not in file.read_text(encoding="utf-8"), file.name


@pytest.mark.parametrize("chart", [CHART, OPERATOR_CHART], ids=lambda chart: chart.name)
def test_packaged_chart_has_what_its_readme_links(chart: Path, tmp_path: Path) -> None:
    archive = helm_python.package(chart, destination=tmp_path)
    with tarfile.open(archive) as packed:
        names = {name.removeprefix(f"{chart.name}/") for name in packed.getnames()}
    linked = re.findall(r"\]\((examples/[^)]+)\)", (chart / "README.md").read_text())
    assert linked
    assert set(linked) <= names
