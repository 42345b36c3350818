"""An autoscaler has its number, whatever becomes of the release: switched on, changed, undone."""

import subprocess
from pathlib import Path

import pytest
from helm_python.errors import HelmError

from harness.api_server import ApiServer
from harness.chart import CHART
from harness.chart.changing import merged
from harness.chart.rendering import Values, shipped_values
from harness.tools import installed_tool as program
from tests.integration.chart.installed import NAME, Installed

SPACE = shipped_values("ci/minimal-values.yaml")
FIXED = SPACE | {"replicas": 5, "dicomweb": {"replicas": 4}}
SCALING: Values = {
    "ingestion": {"autoscaling": {"enabled": True}},
    "dicomweb": {"autoscaling": {"enabled": True}},
}
SCALED = merged(FIXED, SCALING)
DEBUG = {"logLevel": "debug"}


def test_switching_it_on_takes_no_replica_away(installed: Installed) -> None:
    installed.install(FIXED)
    installed.upgrade(SCALED)
    assert (installed.replicas(), installed.replicas("dicomweb")) == (5, 4)
    installed.upgrade(SCALED | DEBUG)
    assert (installed.replicas(), installed.replicas("dicomweb")) == (5, 4)


def test_what_it_has_scaled_stays_and_is_no_conflict(installed: Installed) -> None:
    installed.install(FIXED)
    installed.upgrade(SCALED)
    installed.scale(7)
    for level in ("debug", "info"):
        installed.upgrade(SCALED | {"logLevel": level})
        assert installed.replicas() == 7


def test_with_it_from_the_first_a_release_may_be_undone(installed: Installed) -> None:
    installed.install(SCALED)
    installed.scale(3)
    installed.upgrade(SCALED | DEBUG)
    installed.scale(4)
    installed.roll_back(1)
    assert installed.replicas() == 4


def test_zero_replicas_are_not_retained(installed: Installed) -> None:
    """An autoscaler leaves alone what has none."""
    installed.install(FIXED | {"replicas": 0})
    assert installed.replicas() == 0
    installed.upgrade(SCALED | {"replicas": 0})
    assert installed.replicas() == 1


def test_a_number_that_others_changed_is_a_conflict_of_helms(installed: Installed) -> None:
    """Why the chart writes none that is the autoscaler's."""
    installed.install(FIXED)
    installed.scale(7)
    with pytest.raises(HelmError, match=r"\.spec\.replicas"):
        installed.upgrade(FIXED | DEBUG)


def test_without_server_side_apply_it_stays_as_well(
    installed: Installed, server: ApiServer
) -> None:
    """As with Helm 3, and with releases that it installed."""
    helm = program("helm")
    if helm is None:
        pytest.skip("there is no helm on PATH")
    scaling = "ingestion.autoscaling.enabled=true"
    _run(helm, server, installed, "install", "replicas=5", "--server-side=false")
    _run(helm, server, installed, "upgrade", f"replicas=5,{scaling}")
    assert installed.replicas() == 5
    installed.scale(7)
    _run(helm, server, installed, "upgrade", f"replicas=5,logLevel=debug,{scaling}")
    assert installed.replicas() == 7


def _run(
    helm: Path, server: ApiServer, installed: Installed, verb: str, values: str, *more: str
) -> None:
    place = ["--namespace", installed.api.namespace, "--kubeconfig", str(server.kubeconfig())]
    files = ["--values", str(CHART / "ci/minimal-values.yaml"), "--set", values]
    command = [str(helm), verb, NAME, str(CHART), *place, *files, *more]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
