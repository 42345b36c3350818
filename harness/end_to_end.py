"""`make e2e`: creates the cluster and its addons, runs the tests, and deletes what it created.

An existing cluster is left as it was; the one made here stays if --keep is set. Images are
built and addons installed before the first test, where progress is seen.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import cluster, evidence, images
from harness.addons import minio, nats, postgresql
from harness.addons.workload import NAMESPACE
from harness.airgap import engine
from harness.airgap.cache import cache
from harness.airgap.progress import Progress
from harness.commands import Say
from harness.kubernetes_objects import Namespace

TESTS = Path("tests/e2e")
_LITTLE_KEPT = ("-o", "tmp_path_retention_policy=failed")  # modalities under load write gigabytes
_PROJECT = Path(__file__).parent.parent
_TOGETHER = ("-m", "not alone", "-n", "2", "--dist", "loadgroup")
_ALONE = ("-m", "alone")
_NO_TESTS = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def run(kubeconfig: Path | None, keep: bool, options: Sequence[str], say: Say) -> int:
    """Run the tests with pytest's `options`; return pytest's exit status.

    First those that may run side by side, then those that stop what others stand on.
    """
    shutil.rmtree(evidence.FOLDER, ignore_errors=True)
    with _cluster(kubeconfig, keep, say) as chosen:
        _prepare(chosen, options, say)
        seen = [_run_tests(chosen, (*how, *options)) for how in (_TOGETHER, _ALONE)]
    bad = [status for status in seen if status not in (0, _NO_TESTS)]
    return bad[0] if bad else min(seen)


def _run_tests(chosen: cluster.Cluster, options: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", str(TESTS), *_LITTLE_KEPT]
    output = ["--kubeconfig", str(chosen.kubeconfig.resolve()), *options]
    return subprocess.run([*command, *output], cwd=_PROJECT, check=False).returncode


def _prepare(chosen: cluster.Cluster, options: Sequence[str], say: Say) -> None:
    """Build the images and install the addons that tests will need."""
    if not any("image=" in option for option in options) and chosen.name:
        made = [images.product_image(say, extras=each) for each in images.PRODUCTS]
        with Progress(1, say).step("loading the product's images into the node"):
            chosen.load(*made)
    addons = (nats, minio, postgresql)
    progress = Progress(len(addons), say)
    for addon in addons:
        with progress.step(f"installing {addon.__name__.rpartition('.')[2]}"):
            addon.install(chosen)


@contextmanager
def _cluster(kubeconfig: Path | None, keep: bool, say: Say) -> Iterator[cluster.Cluster]:
    if kubeconfig is not None:
        with _remove_addons(cluster.existing(kubeconfig), keep) as chosen:
            yield chosen
        return
    engine_ran, was_there = engine.running(), cluster.answers(cluster.NAME)
    try:
        yield cluster.create(say=say)
    finally:
        if keep or was_there:
            say("the cluster is kept: make status tells where it is, make down ends it")
        else:
            ended(say, stop_engine=not engine_ran)


@contextmanager
def _remove_addons(foreign: cluster.Cluster, keep: bool) -> Iterator[cluster.Cluster]:
    """Delete the addons from another's cluster; their namespace is only for them."""
    addons = Namespace(foreign.kubeconfig, NAMESPACE)
    was_there = addons.read("Namespace", NAMESPACE) is not None
    try:
        yield foreign
    finally:
        if not keep and not was_there:
            addons.remove()


def ended(say: Say, name: str = cluster.NAME, *, stop_engine: bool = True) -> None:
    """Delete the cluster, and stop the engine if the harness started it."""
    if engine.running():
        cluster.delete(name, say=say)
    if stop_engine:
        engine.stop(cache(), say)
