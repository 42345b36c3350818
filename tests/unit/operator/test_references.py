"""Whatever names a Secret or a ConfigMap is found in the objects, but what may be missing."""

from typing import Any

import pytest

from dimse_ingestion.operator.references import Reference, references

SPACE = "imaging"


def pod(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "ingestion"}], **spec}}
    return {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": template}}


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "ingestion", **fields}])


def variable(**output: Any) -> dict[str, Any]:
    return container(env=[{"name": "A", "valueFrom": output}])


def volume(**source: Any) -> dict[str, Any]:
    return pod(volumes=[{"name": "more", **source}])


def ingress(*secrets: str) -> dict[str, Any]:
    tls = [{"hosts": ["a"], "secretName": each} for each in secrets]
    return {"kind": "Ingress", "metadata": {"name": "x"}, "spec": {"tls": [*tls, {"hosts": ["b"]}]}}


@pytest.mark.parametrize(
    ("manifest", "kind", "at_start"),
    [
        (variable(secretKeyRef={"name": "wanted", "key": "k"}), "Secret", True),
        (variable(configMapKeyRef={"name": "wanted", "key": "k"}), "ConfigMap", True),
        (container(envFrom=[{"secretRef": {"name": "wanted"}}]), "Secret", True),
        (container(envFrom=[{"configMapRef": {"name": "wanted"}}]), "ConfigMap", True),
        (volume(projected={"sources": [{"secret": {"name": "wanted"}}]}), "Secret", False),
        (volume(projected={"sources": [{"configMap": {"name": "wanted"}}]}), "ConfigMap", False),
        (volume(secret={"secretName": "wanted"}), "Secret", True),
        (volume(configMap={"name": "wanted"}), "ConfigMap", False),
        (ingress("wanted"), "Secret", False),
        (
            pod(
                initContainers=container(envFrom=[{"secretRef": {"name": "wanted"}}])["spec"][
                    "template"
                ]["spec"]["containers"]
            ),
            "Secret",
            True,
        ),
    ],
)
def test_what_is_named_is_sought(manifest: dict[str, Any], kind: str, at_start: bool) -> None:
    (match,) = references([manifest], {}, SPACE)
    assert (match.kind, match.namespace, match.name) == (kind, SPACE, "wanted")
    assert match.read_at_start is at_start
    assert match.missing.endswith(f"{kind} wanted.")


@pytest.mark.parametrize(
    "manifest",
    [
        variable(secretKeyRef={"name": "wanted", "key": "k", "optional": True}),
        variable(fieldRef={"fieldPath": "metadata.name"}),
        container(envFrom=[{"configMapRef": {"name": "wanted", "optional": True}}]),
        volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
        ingress(),
    ],
)
def test_what_may_be_missing_is_not(manifest: dict[str, Any]) -> None:
    assert references([manifest], {}, SPACE) == []


def test_what_the_release_makes_is_not_sought() -> None:
    made = {"kind": "Secret", "metadata": {"name": "wanted"}}
    assert references([variable(secretKeyRef={"name": "wanted"}), made], {}, SPACE) == []


def test_each_is_named_once() -> None:
    twice = [variable(secretKeyRef={"name": "wanted"})] * 2
    assert references(twice, {}, SPACE) == [
        Reference("Secret", SPACE, "wanted", read_at_start=True)
    ]
