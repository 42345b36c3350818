"""The operator's chart: definitions that an API server takes, least rights, a pod like ours."""

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator

from harness.chart import OPERATOR_CHART
from harness.chart.rendering import Manifest, Refused, Rendering, Values, rendered, shipped_values
from harness.chart.schema import schema_of
from harness.chart.values_file import values_of

KINDS = ("DimseIngestionService", "DicomwebIngestionService", "DicomEventDrivenIngestion")
PROVING = ("ci/everything-on-values.yaml", "ci/proxy-in-cluster-values.yaml")
EVERY_KIND = (*KINDS, "DimseProxy")
VARIANTS: tuple[Values, ...] = (
    {},
    {"watchNamespaces": ["imaging", "cardiology"], "serviceMonitor": {"enabled": True}},
    {"defaults": {"logLevel": "debug"}, "extraEnv": [{"name": "A", "value": "b"}]},
)
WRITTEN = {"Deployment", "Service", "ServiceAccount", "ConfigMap", "PersistentVolumeClaim"} | {
    "Secret",
    "NetworkPolicy",
    "Ingress",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "ServiceMonitor",
    "PrometheusRule",
}


def of_operator(values: Values | None = None) -> Rendering:
    return rendered(values, name="imaging", namespace="operators", chart=OPERATOR_CHART)


def definitions(rendering: Rendering) -> dict[str, Manifest]:
    return {
        each["spec"]["names"]["kind"]: each
        for each in rendering.of_kind("CustomResourceDefinition")
    }


def spec_of(kind: str) -> dict[str, Any]:
    (version,) = definitions(of_operator())[kind]["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def described(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each named field below a schema, with its description."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field.get("description", "")
        yield from described(field, f"{path}.{name}")


@pytest.mark.parametrize("values", VARIANTS, ids=",".join)
@pytest.mark.parametrize("version", ["1.30", "1.34", kubernetes_validate.latest_version()])
def test_every_manifest_is_what_kubernetes_takes(values: Values, version: str) -> None:
    for manifest in of_operator(values).manifests:
        if manifest["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(manifest, version, strict=True)


def test_there_is_a_definition_of_each_kind_that_outlives_the_release() -> None:
    match = definitions(of_operator())
    assert match.keys() == set(EVERY_KIND)
    for definition in match.values():
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not definitions(of_operator({"crds": {"install": False}}))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_field_is_described(kind: str) -> None:
    (version,) = definitions(of_operator())[kind]["spec"]["versions"]
    silent = [
        path
        for path, message in described(version["schema"]["openAPIV3Schema"])
        if not message and ".imagePullSecrets." not in path and path != ".metadata"
    ]
    assert not silent


def test_example_has_only_known_fields() -> None:
    example = shipped_values("examples/radiology.yaml")
    spec = spec_of("DimseIngestionService")
    assert example.keys() <= spec["properties"].keys()
    assert set(spec["required"]) <= example.keys()


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_columns_show_phase_and_age(kind: str) -> None:
    (version,) = definitions(of_operator())[kind]["spec"]["versions"]
    names = [column["name"] for column in version["additionalPrinterColumns"]]
    assert names[:2] == ["Phase", "Ready"]
    assert names[-1] == "Age"


def test_only_what_has_replicas_by_itself_can_be_scaled() -> None:
    scaled = {
        kind: "scale" in definition["spec"]["versions"][0]["subresources"]
        for kind, definition in definitions(of_operator()).items()
    }
    assert {kind for kind, scale in scaled.items() if scale} == set(KINDS[:2])


def test_rights_are_those_to_write_what_the_chart_writes() -> None:
    (role,) = of_operator().of_kind("ClusterRole")
    verbs = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert all("*" not in each for each in verbs.values())
    assert verbs["", "secrets"] == {"get", "list", "watch", "create", "delete"}
    writable = {resource for (_, resource), may in verbs.items() if "delete" in may}
    assert writable == {_plural(kind) for kind in WRITTEN}


@pytest.mark.parametrize("name", PROVING)
def test_the_one_chart_writes_nothing_else(name: str) -> None:
    kinds = {
        each["kind"]
        for each in rendered(shipped_values(name) | {"extraObjects": []}).manifests
        if "helm.sh/hook" not in each["metadata"].get("annotations", {})
    }
    assert kinds <= WRITTEN


def test_namespaces_that_are_named_bound_the_rights() -> None:
    rendering = of_operator({"watchNamespaces": ["imaging", "cardiology"]})
    assert not rendering.of_kind("ClusterRole", "ClusterRoleBinding")
    roles = {each["metadata"]["namespace"] for each in rendering.of_kind("Role")}
    assert roles == {"imaging", "cardiology", "operators"}


def test_a_default_that_no_resource_would_get_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        of_operator({"defaults": {"imagePullPolicy": "Always", "natsSecure": False}})
    for field in ("imagePullPolicy", "natsSecure"):
        assert f"defaults.{field} has no effect" in str(refused.value)
    of_operator({"defaults": {"natsCaSecret": "nats-ca", "imagePullSecrets": [{"name": "a"}]}})


def test_a_binding_is_of_a_role_that_exists() -> None:
    for values in VARIANTS:
        rendering = of_operator(values)
        roles = {
            (each["kind"], each["metadata"]["name"], each["metadata"].get("namespace"))
            for each in rendering.of_kind("Role", "ClusterRole")
        }
        for binding in rendering.of_kind("RoleBinding", "ClusterRoleBinding"):
            role = binding["roleRef"]
            assert (role["kind"], role["name"], binding["metadata"].get("namespace")) in roles


def test_the_pod_meets_the_restricted_standard_and_is_probed() -> None:
    (pod,) = of_operator().pods()
    context = pod.container["securityContext"]
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in pod.container["resources"]["limits"]
    for probe, path in (("liveness", "/livez"), ("readiness", "/readyz"), ("startup", "/livez")):
        assert pod.container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}


def test_an_image_without_a_tag_has_the_charts_version() -> None:
    registry = "registry.example.org:5000"
    (pod,) = of_operator({"image": f"{registry}/operator", "componentImage": "other:7"}).pods()
    assert pod.container["image"] == f"{registry}/operator:0.1.0"
    assert pod.environment["DIMSE_OPERATOR_IMAGE"] == "other:7"
    (bare,) = of_operator().pods()
    assert bare.environment["DIMSE_OPERATOR_IMAGE"] == "dimse-ingestion:0.1.0"


def test_schema_takes_its_defaults_and_refuses_a_slip_of_the_pen() -> None:
    schema = schema_of(values_of(OPERATOR_CHART / "values.yaml"))
    Draft7Validator.check_schema(schema)
    defaults = yaml.safe_load((OPERATOR_CHART / "values.yaml").read_text(encoding="utf-8"))
    assert not [*Draft7Validator(schema).iter_errors(defaults)]
    with pytest.raises(Refused):
        of_operator({"watchNamespace": ["imaging"]})


def test_a_template_is_short() -> None:
    for file in (OPERATOR_CHART / "templates").rglob("*.*"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 120, file.name


def _plural(kind: str) -> str:
    plain = kind.lower()
    return {"networkpolicy": "networkpolicies", "ingress": "ingresses"}.get(plain, f"{plain}s")
