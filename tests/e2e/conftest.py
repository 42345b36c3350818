"""What end-to-end tests take from the harness, and the space that those share who only look.

No test here knows the product's source: it is met by DIMSE, HTTP, S3, NATS and Kubernetes.
`make e2e` runs them; elsewhere they skip. docs/end-to-end.md describes existing clusters.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cluster import existing
from harness.imaging_zone import ImagingZone
from harness.plugin import *  # noqa: F403 - pytest finds fixtures and hooks by name here
from harness.plugin import Session, Workbench
from harness.provisioning import Platform, Space
from harness.reading import THROUGH_A_NODE_PORT

_LONGEST = 240


@dataclass(frozen=True)
class Observed:
    """A space with all that the chart has by default, and a proxy outside: only looked at."""

    space: Space
    zone: ImagingZone


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks for groups once
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    kubeconfig = config.getoption("--kubeconfig")
    for item in (each for each in items if Path(__file__).parent in each.path.parents):
        item.add_marker(pytest.mark.timeout(_LONGEST))
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        if not kubeconfig:
            item.add_marker(pytest.mark.skip(reason="no cluster was named: make e2e"))
    if kubeconfig and not existing(Path(kubeconfig)).enforces_network_policies():
        needing = [item for item in items if item.get_closest_marker("network_policies")]
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def _group(item: pytest.Item) -> str:
    """Return the group of tests that run one after another, because they share one object."""
    request = getattr(item, "fixturenames", ())
    shared = [each for each in ("operator", "observed") if each in request]
    return shared[0] if shared else item.path.stem


@pytest.fixture(scope="module")
def observed(
    platform: Platform, lasting: Session, tmp_path_factory: pytest.TempPathFactory
) -> Observed:
    folder = tmp_path_factory.mktemp("observed")
    bench = Workbench(platform, lasting.witnesses, folder, lasting.ending)
    return lasting.once("observed", lambda: _observed(bench))


def _observed(bench: Workbench) -> Observed:
    namespace = bench.namespace("observed")
    space = bench.space("radiology", namespace, dicomweb=THROUGH_A_NODE_PORT).install()
    return Observed(space, bench.zone(space).open())
