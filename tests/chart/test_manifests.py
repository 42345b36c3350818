"""Every rendering is what Kubernetes takes, and its parts find each other."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft7Validator

from harness.chart import CHART
from harness.chart.changing import merged, with_value
from harness.chart.rendering import Manifest, Pod, Rendering, Values, rendered, shipped_values
from harness.chart.values_file import values_of

EVERYTHING = shipped_values("ci/everything-on-values.yaml")
WITH_DEFAULT_SPOOL = {
    "dicomweb": EVERYTHING,
    "proxy": shipped_values("ci/proxy-in-cluster-values.yaml"),
}
VALUE_PATHS = [value.path for value in values_of(CHART / "values.yaml")]
VERSIONS = ("1.30", "1.34", kubernetes_validate.latest_version())  # Chart.yaml's oldest, kind's
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# what the Prometheus Operator's resources have, as far as the chart writes it
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


_ENDPOINT = _closed(
    ["port", "path"],
    port={"const": "http"},
    path={"const": "/metrics"},
    interval=_DURATION,
    scrapeTimeout=_DURATION,
    relabelings={"type": "array"},
    metricRelabelings={"type": "array"},
)
_RULE = _closed(
    ["alert", "expr", "labels", "annotations"],
    alert={"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
    expr={"type": "string", "minLength": 1},
    labels=_TEXTS | {"required": ["severity"]},
    annotations=_TEXTS | {"required": ["summary", "description"]},
) | {"$comment": "for is a word of Python's"}
_RULE["properties"]["for"] = _DURATION
_GROUP = _closed(["name", "rules"], name={"type": "string"}, rules={"items": _RULE, "minItems": 1})
CUSTOM_SPECS = {
    "ServiceMonitor": _closed(
        ["selector", "endpoints"],
        selector=_closed(["matchLabels"], matchLabels=_TEXTS),
        endpoints={"type": "array", "items": _ENDPOINT, "minItems": 1},
    ),
    "PrometheusRule": _closed(["groups"], groups={"type": "array", "items": _GROUP}),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_keep_to_strict_schemas(rendering: Rendering, version: str) -> None:
    for manifest in rendering.manifests:
        if manifest["kind"] not in CUSTOM_SPECS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_custom_resources_keep_to_their_operators_words() -> None:
    rendering = rendered(EVERYTHING)
    for kind, schema in CUSTOM_SPECS.items():
        (manifest,) = rendering.of_kind(kind)
        assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
        errors = [error.message for error in Draft7Validator(schema).iter_errors(manifest["spec"])]
        assert not errors


def test_no_two_objects_have_one_name(rendering: Rendering) -> None:
    names = Counter((each["kind"], each["metadata"]["name"]) for each in rendering.manifests)
    assert not [name for name, times in names.items() if times > 1]


def test_names_are_labels_of_dns(rendering: Rendering) -> None:
    for manifest in rendering.manifests:
        assert NAME.fullmatch(manifest["metadata"]["name"])


def test_objects_carry_the_release_and_its_namespace(rendering: Rendering) -> None:
    for manifest in _own(rendering):
        labels = manifest["metadata"]["labels"]
        assert manifest["metadata"]["namespace"] == "imaging"
        assert labels["app.kubernetes.io/name"] == "dimse-ingestion"
        assert labels["app.kubernetes.io/instance"] == "radiology"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert {"app.kubernetes.io/version", "helm.sh/chart"} <= labels.keys()


def test_common_labels_and_annotations_stand_on_every_object() -> None:
    rendering = rendered(EVERYTHING)
    for manifest in _own(rendering):
        assert manifest["metadata"]["labels"]["hospital"] == "north", manifest["kind"]
        assert "contact" in manifest["metadata"]["annotations"], manifest["kind"]


def test_selectors_match_their_own_pods_and_no_others(rendering: Rendering) -> None:
    for manifest in rendering.of_kind("Deployment", "Service", "PodDisruptionBudget"):
        selector = _selector(manifest)
        component = manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        assert [pod.component for pod in _selected(rendering, selector)] == [component]


def test_services_lead_to_ports_that_have_a_name(rendering: Rendering) -> None:
    for service in rendering.of_kind("Service"):
        for pod in _selected(rendering, service["spec"]["selector"]):
            named = {port["name"] for port in pod.container["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_probes_ask_a_port_that_has_a_name(rendering: Rendering) -> None:
    for pod in rendering.pods():
        named = {port["name"] for port in pod.container.get("ports", [])}
        probes = [value for key, value in pod.container.items() if key.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes} <= named


def test_mounts_have_their_volumes_and_volumes_their_mounts(rendering: Rendering) -> None:
    for pod in rendering.pods():
        volumes = [volume["name"] for volume in pod.spec["volumes"]]
        mounts = pod.container["volumeMounts"]
        assert len(volumes) == len(set(volumes))
        assert {mount["name"] for mount in mounts} == set(volumes)
        paths = [mount["mountPath"] for mount in mounts]
        assert len(paths) == len(set(paths))


@pytest.mark.parametrize("component", ["dicomweb", "proxy"])
@pytest.mark.parametrize("kind", ["emptyDir", "persistentVolumeClaim"])
def test_spool_is_of_one_kind(component: str, kind: str) -> None:
    """Helm merges the default's volume into what is given."""
    given = {"emptyDir": {"medium": "Memory"}, "persistentVolumeClaim": {"claimName": "spool"}}
    values = WITH_DEFAULT_SPOOL[component]
    assert "spoolVolume" not in values[component]
    values = with_value(values, (component, "spoolVolume"), {kind: given[kind]})
    volume = rendered(values).pod(component).volume("spool")
    assert volume.keys() == {"name", kind}
    assert given[kind].items() <= volume[kind].items()


def test_rotation_reaches_every_mount(rendering: Rendering) -> None:
    """A file mounted by subPath never changes."""
    for pod in rendering.pods():
        assert not [mount for mount in pod.container["volumeMounts"] if "subPath" in mount]


def test_variables_are_set_once(rendering: Rendering) -> None:
    for pod in rendering.pods():
        times = Counter(each["name"] for each in pod.container["env"])
        assert max(times.values()) == 1


def test_claims_and_config_maps_of_the_release_exist(rendering: Rendering) -> None:
    claims = {each["metadata"]["name"] for each in rendering.of_kind("PersistentVolumeClaim")}
    for pod in rendering.pods():
        for volume in pod.spec["volumes"]:
            claim = volume.get("persistentVolumeClaim", {}).get("claimName", "")
            assert not claim.startswith("radiology-") or claim in claims
            config_map = volume.get("configMap", {"optional": True})
            assert config_map.get("optional") or config_map["name"] in _names(rendering)


def test_spread_is_of_the_components_pods_unless_set_otherwise() -> None:
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    own = {"matchLabels": {"app": "mine"}}
    constraints = [constraint, constraint | {"labelSelector": own}]
    values = EVERYTHING | {"ingestion": {"topologySpreadConstraints": constraints}}
    pod = rendered(values).pod("ingestion")
    ours, theirs = pod.spec["topologySpreadConstraints"]
    assert ours["labelSelector"]["matchLabels"].items() <= pod.labels.items()
    assert theirs == constraint | {"labelSelector": own}


def test_autoscalers_and_ingresses_lead_somewhere() -> None:
    rendering = rendered(EVERYTHING)
    for scaler in rendering.of_kind("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        (deployment,) = [
            each
            for each in rendering.of_kind(target["kind"])
            if each["metadata"]["name"] == target["name"]
        ]
        assert "replicas" not in deployment["spec"], "a sync would undo the scaling"
    for ingress in rendering.of_kind("Ingress"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        service = _named(rendering, "Service", backend["name"])
        assert backend["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_whole_release_takes_another_name_with_it() -> None:
    values = shipped_values("ci/minimal-values.yaml")
    plain = rendered(values, name="radiology")
    other = rendered(values | {"fullnameOverride": "north"}, name="radiology")
    renamed = {name.replace("radiology", "north") for name in _names(plain)}
    assert _names(other) == renamed


def test_longest_name_of_a_release_fits_and_is_found() -> None:
    longest = "r" * 45 + "-" + "r" * 7  # Helm takes 53
    core = rendered(EVERYTHING, name=longest)
    assert all(NAME.fullmatch(name) for name in _names(core))
    values = shipped_values("examples/radiology.yaml") | {"dicomEventDrivenIngestionName": longest}
    request = rendered(values).pod("ingestion").environment["QUERY_ENDPOINT"]
    service = _named(core, "Service", request.removeprefix("https://").removesuffix(":8443"))
    assert service["metadata"]["labels"]["app.kubernetes.io/component"] == "catalogue"


@pytest.mark.parametrize("name", ["123", "1e3", "no", "null", "0x1f", "2024-01-01"])
def test_names_that_yaml_would_misread_stay_names(name: str) -> None:
    values = merged(EVERYTHING, _every_name(name))
    for manifest in rendered(values, name=name, namespace=name).manifests:
        assert manifest["metadata"].get("namespace", name) == name
        if manifest["kind"] not in CUSTOM_SPECS:
            kubernetes_validate.validate(manifest, "1.34", strict=True)
    for pod in rendered(values, name=name).pods():
        secrets = [each["secret"]["secretName"] for each in pod.spec["volumes"] if "secret" in each]
        assert set(secrets) <= {name}


def _every_name(name: str) -> Values:
    """Return each value that is the name of an object, with that name."""
    ends = ("Secret", "ConfigName", "SecretName", "secretName", "className")
    keys = [path for path in VALUE_PATHS if path[-1].endswith(ends)]
    values: Values = {"providerName": name}
    for path in keys:
        values = with_value(values, path, name)
    return values


def _own(rendering: Rendering) -> Iterator[Manifest]:
    """Return the manifests that are the chart's, not of `extraObjects`."""
    return (each for each in rendering.manifests if "labels" in each["metadata"])


def _names(rendering: Rendering) -> set[str]:
    return {each["metadata"]["name"] for each in rendering.manifests}


def _named(rendering: Rendering, kind: str, name: str) -> Manifest:
    (match,) = [each for each in rendering.of_kind(kind) if each["metadata"]["name"] == name]
    return match


def _selector(manifest: Manifest) -> Mapping[str, str]:
    selector: dict[str, Any] = manifest["spec"]["selector"]
    labels: dict[str, str] = selector.get("matchLabels", selector)
    return labels


def _selected(rendering: Rendering, labels: Mapping[str, str]) -> list[Pod]:
    return [pod for pod in rendering.pods() if labels.items() <= pod.labels.items()]
