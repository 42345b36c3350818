"""The airgap's steps in their order: what is missing is built, what exists is used.

Every step leaves what it built in the cache or in the engine's store, so that after an interruption
the next run begins where this one was cut off.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.airgap import engine, go_programs, images, machine, node_image, pins
from harness.airgap.cache import Cache, cache
from harness.airgap.progress import Progress
from harness.commands import Say


@dataclass(frozen=True)
class Step:
    """One build step: its title, whether it is done, and how it is done."""

    title: str
    is_done: Callable[[], bool]
    make: Callable[[], object]


def ready(say: Say) -> str:
    """Return the node image; build everything that a cluster of it needs, and start an engine.

    The first time takes minutes. Raises Unusable that names what this machine lacks.
    """
    store = _with_engine(say)
    programs = missing(program_steps(store))
    image_jobs = missing(image_steps(store))
    if programs or image_jobs:
        machine.prepare(say)
        _build(store, programs, image_jobs, say)
    return pins.NODE_IMAGE


def debian(say: Say) -> str:
    """Return the Debian image alone, the base of the product's image, and the engine."""
    store = _with_engine(say)
    for step in missing(image_steps(store)[:1]):
        machine.prepare(say)
        with Progress(1, say).step(step.title):
            step.make()
    return pins.DEBIAN_IMAGE


def program(name: str, say: Say) -> Path:
    """Return kind, helm or kubectl, built unless it exists."""
    store = cache()
    if not store.has(name):
        machine.prepare(say)
        with Progress(1, say).step(f"building {name}"):
            _build_program(store, name)
    return store.program(name)


def program_steps(store: Cache) -> list[Step]:
    """Return the steps from Go modules; Kubernetes only until it is in the node's image."""
    return [
        Step(
            "building Kubernetes, etcd and CoreDNS",
            lambda: images.exists(pins.NODE_IMAGE) or _all_built(store),
            lambda: go_programs.node_programs(store),
        ),
        *(_program_step(store, name) for name in ("kind", "helm", "nats-server", "minio")),
    ]


def image_steps(store: Cache) -> list[Step]:
    """Return the steps that make images of Debian and the programs."""
    return [
        _image_step(pins.DEBIAN_IMAGE, lambda: images.debian(store)),
        _image_step(
            pins.NATS_IMAGE,
            lambda: images.of_program(pins.NATS_IMAGE, store.program("nats-server")),
        ),
        _image_step(
            pins.MINIO_IMAGE,
            lambda: images.of_program(pins.MINIO_IMAGE, store.program("minio"), pins.DEBIAN_IMAGE),
        ),
        _image_step(pins.NODE_IMAGE, lambda: node_image.create(store)),
    ]


def missing(steps: list[Step]) -> list[Step]:
    """Return the steps that are not done."""
    return [step for step in steps if not step.is_done()]


def _with_engine(say: Say) -> Cache:
    store = cache()
    if not engine.running():
        machine.prepare(say)
        engine.start(store, say)
    return store


def _build(store: Cache, programs: list[Step], image_jobs: list[Step], say: Say) -> None:
    """Make the Debian image beside the programs: it waits for the mirror most of the time."""
    progress = Progress(len(programs) + len(image_jobs), say)
    with ThreadPoolExecutor(max_workers=1) as beside:
        debian = beside.submit(images.debian, store)
        for step in programs:
            with progress.step(step.title):
                step.make()
        for step in image_jobs:
            with progress.step(step.title):
                debian.result()
                step.make()


def _program_step(store: Cache, name: str) -> Step:
    return Step(
        f"building {name}",
        lambda: go_programs.is_built(store, name),
        lambda: go_programs.install(store, name),
    )


def _image_step(image: str, make: Callable[[], object]) -> Step:
    return Step(f"making the image {image}", lambda: images.exists(image), make)


def _all_built(store: Cache) -> bool:
    return all(go_programs.is_built(store, name) for name in go_programs.NODE_PROGRAMS)


def _build_program(store: Cache, name: str) -> None:
    if name == "kubectl":
        go_programs.node_programs(store)
        store.program(name).symlink_to("kubernetes")
    else:
        go_programs.install(store, name)
