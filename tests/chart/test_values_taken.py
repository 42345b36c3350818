"""What is taken as values: a custom resource's spec as it is, and no slip of the pen."""

from collections.abc import Iterator

import pytest
import yaml
from helm_python import lint

from harness.chart import CHART
from harness.chart.changing import with_value
from harness.chart.rendering import Refused, Values, rendered, shipped_values, values_files
from harness.chart.values_file import Value, values_of

VALUES = values_of(CHART / "values.yaml")
MINIMAL = shipped_values("ci/minimal-values.yaml")
ISSUED_RESOURCE = """
apiVersion: imaging-ingestion.alvearie.org/v1alpha1
kind: DimseIngestionService
metadata:
  name: img-ingest
spec:
  bucketConfigName: img-ingest-s3
  bucketSecretName: img-ingest-s3
  dicomEventDrivenIngestionName: core
  providerName: provider
  applicationEntityTitle: "DICOM-INGEST"
  natsUrl: 0a0527d6.nip.io:443
  natsSubjectRoot: DIMSE
  natsSecure: true
  natsTokenSecret: nats-dicom-ingest-token-lhllv
"""


def test_unknown_key_is_refused_wherever_it_stands() -> None:
    groups = {value.path[:depth] for value in VALUES for depth in range(len(value.path))}
    for group in groups:
        changed = with_value(MINIMAL, (*group, "naamUrl"), "other")
        with pytest.raises(Refused, match="additional properties 'naamUrl' not allowed"):
            rendered(changed)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.name)
def test_wrong_kind_is_refused_with_the_place(value: Value) -> None:
    wrong = [["other"]] if not isinstance(value.default, list) else "other"
    with pytest.raises(Refused) as refused:
        rendered(with_value(MINIMAL, value.path, wrong))
    assert any(f"at '/{'/'.join(value.path)}" in each for each in refused.value.sentences)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"natsSecure": "yes"}, "at '/natsSecure': got string, want boolean"),
        ({"replicas": -1}, "at '/replicas': minimum: got -1, want 0"),
        ({"natsSubjectRoot": "DIMSE.>"}, "at '/natsSubjectRoot': 'DIMSE.>' does not match pattern"),
        ({"logLevel": "loud"}, "at '/logLevel': value must be one of 'debug', 'info'"),
        ({"image": ""}, "at '/image': '' does not match pattern"),
        ({"image": ":0.1.0"}, "at '/image': ':0.1.0' does not match pattern"),
        (
            {"serviceAccount": {"name": "Bad_Name"}},
            "at '/serviceAccount/name': 'Bad_Name' does not match pattern",
        ),
        (
            {"catalogue": {"persistence": {"existingClaim": "Bad_Name"}}},
            "at '/catalogue/persistence/existingClaim': 'Bad_Name' does not match pattern",
        ),
        (
            {"ingestion": {"settings": {"DIMSE_MAXIMUM_SESIONS": 1}}},
            "at '/ingestion/settings': additional properties 'DIMSE_MAXIMUM_SESIONS' not allowed",
        ),
        (
            {"proxy": {"settings": {"aeTitel": "A"}}},
            "at '/proxy/settings': additional properties 'aeTitel' not allowed",
        ),
    ],
)
def test_refusal_says_where_and_what(values: Values, message: str) -> None:
    with pytest.raises(Refused) as refused:
        rendered(MINIMAL | values)
    (sentence,) = refused.value.sentences
    assert sentence.startswith(message)


def test_spec_of_the_custom_resource_is_a_values_file() -> None:
    spec = yaml.safe_load(ISSUED_RESOURCE)["spec"]
    rendering = rendered(spec, name="img-ingest")
    environment = rendering.pod("ingestion").environment
    assert environment["K_SINK"] == "https://core-catalogue:8443/events"
    assert not [pod for pod in rendering.pods() if pod.component == "catalogue"]


def test_values_files_say_nothing_twice() -> None:
    """YAML takes the last of two equal keys without a word."""
    for file in [CHART / "values.yaml", *values_files().values()]:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        assert root is None or not list(_repeated(root)), file.name


def test_a_parent_chart_may_share_its_values() -> None:
    assert rendered(MINIMAL | {"global": {"registry": "other"}}).manifests


def _repeated(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from {key for key in keys if keys.count(key) > 1}
        for _, content in node.value:
            yield from _repeated(content)
    elif isinstance(node, yaml.SequenceNode):
        for content in node.value:
            yield from _repeated(content)


@pytest.mark.parametrize("name", sorted(values_files()))
def test_helm_finds_nothing_to_remark(name: str) -> None:
    result = lint(CHART, shipped_values(name), strict=True)["messages"]
    assert [each for each in result if "icon is recommended" not in each["error"]] == []
