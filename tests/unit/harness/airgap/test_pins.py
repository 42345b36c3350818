import re

import pytest

from harness.airgap import go_programs, pins


def test_every_program_is_pinned_to_one_version() -> None:
    for module in pins.PROGRAMS.values():
        assert re.fullmatch(r"[\w./-]+@v\d+\.\d+\.\d+(-\d{14}-[0-9a-f]{12})?", module)


def test_the_pulled_node_image_is_pinned_by_its_digest() -> None:
    assert re.fullmatch(r"kindest/node:v[\d.]+@sha256:[0-9a-f]{64}", pins.PULLED_NODE_IMAGE)


def test_a_version_is_read_from_go_mod() -> None:
    go_mod = "require (\n\tk8s.io/kubernetes v1.34.4 // why\n\tk8s.io/kubernetes/more v9.9.9\n)\n"
    assert pins.required("k8s.io/kubernetes", go_mod) == "v1.34.4"
    with pytest.raises(AssertionError, match="is not required"):
        pins.required("k8s.io/kube", go_mod)


def test_kubernetes_own_parts_are_of_its_version() -> None:
    go_mod = (pins.NODE_MODULE / "go.mod").read_text()
    own = re.findall(r"^\s*(k8s\.io/[\w-]+) => k8s\.io/[\w-]+ v0\.(\S+)$", go_mod, re.MULTILINE)
    assert len(own) > 20
    assert {version for _, version in own} == {pins.KUBERNETES.removeprefix("v1.")}


def test_kubernetes_is_built_with_its_version() -> None:
    flags = " ".join(go_programs.version_flags("v1.34.4"))
    for output in ("gitVersion=v1.34.4", "gitMajor=1", "gitMinor=34", "gitTreeState=clean"):
        assert f"-X k8s.io/component-base/version.{output}" in flags
