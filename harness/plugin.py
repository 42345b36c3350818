"""pytest's plugin of the harness: fixtures for a cluster with its addons, and evidence.

Built on pytest-helm-charts: `--kubeconfig` names the cluster, `kube_cluster` reaches it,
and `--test_extra_info image=REFERENCE,operator_image=REFERENCE` names images to install in place of
this tree's. Only `tests/e2e/conftest.py` uses this plugin.
"""

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pytest_helm_charts.clusters import Cluster as ReachedCluster

from harness import evidence, images
from harness.addons import minio, nats, postgresql
from harness.addons.postgresql import PostgresqlAddon
from harness.addons.workload import NAMESPACE
from harness.cluster import Cluster, existing
from harness.commands import Unusable
from harness.evidence import Witnesses
from harness.imaging_zone import ImagingZone
from harness.kubernetes_objects import Manifest, Namespace
from harness.operating import AskedSpace, Operator, Resource
from harness.provisioning import RESTRICTED, Platform, Space
from harness.release import Release

__all__ = [
    "bench",
    "cluster",
    "database",
    "lasting",
    "module_bench",
    "operator",
    "platform",
    "pytest_runtest_makereport",
]

_WITNESSES = pytest.StashKey[Witnesses]()
Made = TypeVar("Made")


@dataclass
class Session:
    """Objects created once, by the first test that needs them, and deleted after all tests."""

    witnesses: Witnesses
    ending: ExitStack
    made: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, making: Callable[[], Made]) -> Made:
        """Return what `making` returns, or raise what it raised, calling it only once."""
        if name not in self.made:
            self.made[name] = _outcome(making)
        if isinstance(self.made[name], Exception):
            raise self.made[name]
        made: Made = self.made[name]
        return made


@dataclass(frozen=True)
class Workbench:
    """Creates namespaces, spaces and zones that end with the test, or the module."""

    platform: Platform
    witnesses: Witnesses
    folder: Path
    ending: ExitStack

    def namespace(self, name: str) -> Namespace:
        """Return a namespace of its own, which accepts only pods of the restricted standard."""
        made = Namespace(self.platform.kubeconfig, f"{name}-{secrets.token_hex(3)}").create(
            RESTRICTED
        )
        self.witnesses.namespace(made)
        self.ending.callback(self.witnesses.dismiss, made.name)
        self.ending.callback(made.delete, "Namespace", made.name)
        return made

    def space(
        self, name: str, namespace: Namespace, core: Release | None = None, **values: Any
    ) -> Space:
        """Return a storage space there, neither provided for nor installed; removed at the end.

        `core` is a release whose catalogue it shares; `values` are further ones of its own.
        """
        made = Space(self.platform, namespace, name, secrets.token_hex(3), core, values)
        self.release(made.release)
        self.ending.callback(self.platform.minio.remove_bucket, made.bucket)
        return made

    def resource_space(self, manifest: Manifest, namespace: Namespace) -> AskedSpace:
        """Return a DimseIngestionService's space, not yet applied; deleted at the end."""
        core = manifest["spec"].get("dicomEventDrivenIngestionName")
        made = AskedSpace(
            self.platform,
            namespace,
            manifest["metadata"]["name"],
            secrets.token_hex(3),
            Release(namespace, core) if core else None,
            manifest=manifest,
        )
        self.ending.callback(self.platform.minio.remove_bucket, made.bucket)
        self.resource(manifest, namespace)
        return made

    def resource(self, manifest: Manifest, namespace: Namespace) -> Resource:
        """Return a custom resource there, not applied; deleted at the end."""
        made = Resource(namespace, manifest)
        self.witnesses.resource(namespace, made.kind, made.name)
        self.ending.callback(made.delete)
        return made

    def release(self, release: Release) -> Release:
        """Uninstall a release at the end; return it."""
        self.witnesses.release(release)
        self.ending.callback(release.uninstall)
        return release

    def zone(self, space: Space, proxy_id: str = "ward7", **settings: str) -> ImagingZone:
        """Return a proxy outside the cluster that belongs to the space, not started."""
        folder = self.folder / f"{space.bucket}-{proxy_id}"
        return self.ended(space.zone(folder, proxy_id, **settings))

    def ended(self, zone: ImagingZone) -> ImagingZone:
        """End a proxy at the end; return it."""
        name = f"proxy-{zone.folder.name}"
        self.witnesses.process(name, zone.proxy)
        self.ending.callback(self.witnesses.dismiss, name)
        self.ending.callback(zone.close)
        return zone


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the evidence of a failure before anything is removed, and show the end of it."""
    report = yield
    witnesses = item.session.stash.get(_WITNESSES, None)
    if report.failed and report.when != "teardown" and witnesses is not None:
        files = witnesses.gather(item.nodeid.removeprefix("tests/e2e/"))
        report.sections.append(("evidence", evidence.shown(files)))
    return report


@pytest.fixture(scope="session")
def lasting(request: pytest.FixtureRequest) -> Iterator[Session]:
    """Return the objects that outlive modules."""
    witnesses = request.session.stash.setdefault(_WITNESSES, Witnesses())
    with ExitStack() as ending:
        yield Session(witnesses, ending)


@pytest.fixture(scope="module")
def cluster(kube_cluster: ReachedCluster) -> Cluster:
    """Return the cluster under test."""
    assert kube_cluster.kube_config_path is not None
    return existing(Path(kube_cluster.kube_config_path))


@pytest.fixture(scope="module")
def platform(cluster: Cluster, lasting: Session, test_extra_info: dict[str, str]) -> Platform:
    """Return NATS, MinIO and the product's image on the cluster."""
    image = test_extra_info.get("image")
    return lasting.once("platform", lambda: _platform(cluster, lasting, image))


@pytest.fixture(scope="module")
def database(cluster: Cluster, lasting: Session) -> PostgresqlAddon:
    """Return PostgreSQL on the cluster."""
    return lasting.once("postgresql", lambda: postgresql.install(cluster))


@pytest.fixture(scope="module")
def operator(platform: Platform, lasting: Session, test_extra_info: dict[str, str]) -> Operator:
    """Return the operator on the cluster, looking after every namespace."""
    image = test_extra_info.get("operator_image")
    return lasting.once("operator", lambda: _operator(platform, lasting, image))


@pytest.fixture
def bench(platform: Platform, lasting: Session, tmp_path: Path) -> Iterator[Workbench]:
    """Create objects that end with the test."""
    with ExitStack() as ending:
        yield Workbench(platform, lasting.witnesses, tmp_path, ending)


@pytest.fixture(scope="module")
def module_bench(
    platform: Platform, lasting: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workbench]:
    """Create objects that a module's tests share, and that end with the last of them."""
    with ExitStack() as ending:
        folder = tmp_path_factory.mktemp("shared")
        yield Workbench(platform, lasting.witnesses, folder, ending)


def _platform(cluster: Cluster, lasting: Session, image: str | None) -> Platform:
    chosen = _chosen(cluster, "image", image, images.EXTRAS)
    lasting.witnesses.namespace(Namespace(cluster.kubeconfig, NAMESPACE))
    return Platform(cluster.kubeconfig, nats.install(cluster), minio.install(cluster), chosen)


def _operator(platform: Platform, lasting: Session, image: str | None) -> Operator:
    cluster = existing(platform.kubeconfig)
    chosen = _chosen(cluster, "operator_image", image, images.OPERATOR_EXTRAS)
    made = Operator(platform, chosen)
    if made.is_defined() and not cluster.name:
        raise Unusable("the cluster has the operator's definitions already: test elsewhere")
    lasting.witnesses.namespace(made.namespace)
    for removed in (platform.nats.world_name.remove, made.remove):
        lasting.ending.callback(removed)
    platform.nats.world_name.create()
    return made.install()


def _chosen(cluster: Cluster, option: str, image: str | None, extras: str) -> str:
    """Return the image that was named, else this tree's; make sure that the cluster has it."""
    if not image and not cluster.name:
        raise Unusable(
            "a cluster that was there before pulls the product's image itself: push it, and name it"
            f" by PYTEST_OPTIONS='--test_extra_info {option}=REGISTRY/IMAGE:TAG'"
        )
    chosen = image or images.product_image(extras=extras)
    cluster.load(chosen)
    return chosen


def _outcome(making: Callable[[], Any]) -> Any:
    try:
        return making()
    except (Exception, Unusable) as failed:  # noqa: BLE001 - raised in each test that needs it
        return failed
