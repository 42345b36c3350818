"""Every values file that the chart ships becomes a release, and stays one when upgraded."""

import pytest

from harness.chart.changing import merged
from harness.chart.rendering import Values, rendered, shipped_values, values_files
from tests.integration.chart.installed import NAME, Installed

EVERYTHING = shipped_values("ci/everything-on-values.yaml")
CLAIM: Values = {"spoolVolume": {"persistentVolumeClaim": {"claimName": "spool"}}}


@pytest.mark.parametrize("file", sorted(values_files()))
def test_api_server_takes_what_is_shipped(installed: Installed, file: str) -> None:
    values = shipped_values(file)
    installed.install(values)
    installed.upgrade(values)
    rendering = rendered(values, name=NAME, namespace=installed.api.namespace)
    for test in rendering.of_kind("Pod"):
        installed.api.apply(test)
    for deployment in rendering.of_kind("Deployment"):
        assert installed.api.get("apps/v1", "Deployment", deployment["metadata"]["name"])


def test_everything_may_be_switched_on_and_off_again(installed: Installed) -> None:
    minimal = shipped_values("ci/minimal-values.yaml")
    installed.install(minimal)
    before = installed.api.release_objects()
    installed.upgrade(EVERYTHING)
    assert installed.api.release_objects() > before - {f"PersistentVolumeClaim/{NAME}-catalogue"}
    installed.upgrade(minimal)
    assert installed.api.release_objects() == before


def test_spools_may_stand_on_claims(installed: Installed) -> None:
    installed.install(merged(EVERYTHING, {"dicomweb": CLAIM, "proxy": CLAIM}))
