"""Every pod of every rendering meets what a hospital's cluster demands of one.

The words are those of the restricted Pod Security Standard, and of Kubernetes' own advice on
resources, probes and termination.
"""

import re

import pytest

from harness.chart.rendering import Pod, Rendering, rendered, shipped_values

TAG = re.compile(r"[^/]+(:[\w.-]+|@sha256:[0-9a-f]{64})$")
SLACK = 20  # seconds from the end of the drain until the kill
DRAINING = ("ingestion", "dicomweb", "proxy")
READ_AT_START = {"dicom-tls", "dicom-client-ca", "dicom-peer-ca", "config"}


def test_nobody_is_root(rendering: Rendering) -> None:
    for pod in rendering.pods():
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["runAsGroup"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_containers_can_do_nothing_more_than_run(rendering: Rendering) -> None:
    for pod in rendering.pods():
        context = pod.container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not context.get("privileged")


def test_pods_share_nothing_with_their_node(rendering: Rendering) -> None:
    for pod in rendering.pods():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        assert not [volume for volume in pod.spec["volumes"] if "hostPath" in volume]
        assert not [port for port in pod.container.get("ports", []) if "hostPort" in port]


def test_no_pod_can_speak_to_the_api_server(rendering: Rendering) -> None:
    for pod in rendering.pods():
        assert pod.spec["automountServiceAccountToken"] is False
    for account in rendering.of_kind("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert not rendering.of_kind("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def test_no_variables_come_from_neighbouring_services(rendering: Rendering) -> None:
    for pod in rendering.pods():
        assert pod.spec["enableServiceLinks"] is False


def test_no_secret_stands_in_a_manifest_but_the_one_that_is_generated(
    rendering: Rendering,
) -> None:
    for each in rendering.of_kind("Secret"):
        assert each["metadata"]["name"].endswith("-catalogue")
        assert set(each["data"]) == {"ca.crt", "tls.crt", "tls.key", "token"}
    for each in rendering.manifests:
        if each["kind"] != "Secret":
            assert "PRIVATE KEY" not in str(each)


def test_resources_are_requested_and_memory_is_bounded(rendering: Rendering) -> None:
    for pod in rendering.pods():
        resources = pod.container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert "memory" in resources["limits"]


def test_what_runs_on_is_probed(rendering: Rendering) -> None:
    for pod in rendering.pods():
        paths = {
            key: value["httpGet"]["path"]
            for key, value in pod.container.items()
            if key.endswith("Probe")
        }
        every = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        assert paths == (every if pod.runs_on else {})


def test_images_have_a_tag(rendering: Rendering) -> None:
    for pod in rendering.pods():
        assert TAG.search(pod.container["image"])
        assert not pod.container["image"].endswith(":latest")


@pytest.mark.parametrize("drain", [1, 100, 600])
def test_grace_is_longer_than_the_drain(drain: int) -> None:
    rendering = rendered(
        shipped_values("ci/everything-on-values.yaml") | {"drainTimeout": drain},
    )
    for pod in rendering.pods():
        if pod.component in DRAINING:
            waited = _seconds_before_stop(pod) + float(pod.environment["DIMSE_DRAIN_TIMEOUT"])
            assert pod.spec["terminationGracePeriodSeconds"] >= waited + SLACK, pod.component


def test_catalogue_has_time_for_its_requests() -> None:
    """It has no drain: requests under way have 10 s, and what was taken is committed."""
    pod = rendered(shipped_values("ci/postgresql-values.yaml")).pod("catalogue")
    assert pod.spec["terminationGracePeriodSeconds"] >= _seconds_before_stop(pod) + 10 + SLACK


def test_no_replica_goes_before_its_successor_is_ready(rendering: Rendering) -> None:
    for deployment in rendering.of_kind("Deployment"):
        strategy = deployment["spec"]["strategy"]
        if strategy["type"] == "RollingUpdate":
            assert strategy["rollingUpdate"]["maxUnavailable"] == 0
        else:
            assert _writes_one_file(deployment["spec"]["template"]["spec"])


def test_one_file_has_one_process() -> None:
    rendering = rendered(shipped_values("ci/minimal-values.yaml"))
    (catalogue,) = [
        each
        for each in rendering.of_kind("Deployment")
        if each["metadata"]["name"] == "radiology-catalogue"
    ]
    assert catalogue["spec"]["strategy"] == {"type": "Recreate"}
    assert catalogue["spec"]["replicas"] == 1


def test_one_journal_of_storage_commitment_has_one_process() -> None:
    values = shipped_values("ci/everything-on-values.yaml")
    assert values["proxy"]["settings"]["storageCommitment"]["enabled"]
    (proxy,) = [
        each
        for each in rendered(values).of_kind("Deployment")
        if each["metadata"]["name"] == "radiology-proxy"
    ]
    assert proxy["spec"]["strategy"] == {"type": "Recreate"}


def test_missing_secrets_and_config_maps_hold_no_pod_up(rendering: Rendering) -> None:
    """What rotates is optional: a service runs without it and reports what is missing."""
    for pod in rendering.pods():
        for volume in pod.spec["volumes"]:
            source = volume.get("secret") or volume.get("configMap") or {"optional": True}
            read_at_start = volume["name"] in READ_AT_START
            assert read_at_start or source["optional"] is True


def test_what_is_mounted_as_secret_is_read_only(rendering: Rendering) -> None:
    for pod in rendering.pods():
        for mount in pod.container["volumeMounts"]:
            if {"secret", "configMap"} & pod.volume(mount["name"]).keys():
                assert mount["readOnly"] is True


def _seconds_before_stop(pod: Pod) -> float:
    hook = pod.container.get("lifecycle", {}).get("preStop", {})
    return float(hook.get("sleep", {}).get("seconds", 0))


def _writes_one_file(spec: dict[str, object]) -> bool:
    volumes = spec["volumes"]
    assert isinstance(volumes, list)
    return any("persistentVolumeClaim" in volume for volume in volumes)
