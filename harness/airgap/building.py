"""The airgap's steps in their order: what is missing is built, what is there is taken.

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
    """One thing to build: what is told, whether it is there, and how it is made."""

    title: str
    there: Callable[[], bool]
    make: Callable[[], object]


def ready(say: Say) -> str:
    """The node image, with everything a cluster of it needs built and an engine that answers.

    The first time takes minutes. Raises Unusable with what this machine lacks.
    """
    kept = _with_engine(say)
    programs = missing(program_steps(kept))
    made = missing(image_steps(kept))
    if programs or made:
        machine.prepared(say)
        _build(kept, programs, made, say)
    return pins.NODE_IMAGE


def debian(say: Say) -> str:
    """The Debian image alone, which the product's image can be built upon, and the engine."""
    kept = _with_engine(say)
    for step in missing(image_steps(kept)[:1]):
        machine.prepared(say)
        with Progress(1, say).step(step.title):
            step.make()
    return pins.DEBIAN_IMAGE


def program(name: str, say: Say) -> Path:
    """kind, helm or kubectl, built unless it is there."""
    kept = cache()
    if not kept.has(name):
        machine.prepared(say)
        with Progress(1, say).step(f"building {name}"):
            _built(kept, name)
    return kept.program(name)


def program_steps(kept: Cache) -> list[Step]:
    """What is built from Go modules; Kubernetes only until it is in the node's image."""
    return [
        Step(
            "building Kubernetes, etcd and CoreDNS",
            lambda: images.there(pins.NODE_IMAGE) or _all_there(kept),
            lambda: go_programs.node_programs(kept),
        ),
        *(_program_step(kept, name) for name in ("kind", "helm", "nats-server", "minio")),
    ]


def image_steps(kept: Cache) -> list[Step]:
    """What is made of Debian and the programs."""
    return [
        _image_step(pins.DEBIAN_IMAGE, lambda: images.debian(kept)),
        _image_step(
            pins.NATS_IMAGE,
            lambda: images.of_program(pins.NATS_IMAGE, kept.program("nats-server")),
        ),
        _image_step(
            pins.MINIO_IMAGE,
            lambda: images.of_program(pins.MINIO_IMAGE, kept.program("minio"), pins.DEBIAN_IMAGE),
        ),
        _image_step(pins.NODE_IMAGE, lambda: node_image.made(kept)),
    ]


def missing(steps: list[Step]) -> list[Step]:
    """Those whose thing isn't there."""
    return [step for step in steps if not step.there()]


def _with_engine(say: Say) -> Cache:
    kept = cache()
    if not engine.running():
        machine.prepared(say)
        engine.started(kept, say)
    return kept


def _build(kept: Cache, programs: list[Step], made: list[Step], say: Say) -> None:
    """Make the Debian image beside the programs: it waits for the mirror most of the time."""
    progress = Progress(len(programs) + len(made), say)
    with ThreadPoolExecutor(max_workers=1) as beside:
        debian = beside.submit(images.debian, kept)
        for step in programs:
            with progress.step(step.title):
                step.make()
        for step in made:
            with progress.step(step.title):
                debian.result()
                step.make()


def _program_step(kept: Cache, name: str) -> Step:
    return Step(
        f"building {name}",
        lambda: go_programs.there(kept, name),
        lambda: go_programs.installed(kept, name),
    )


def _image_step(image: str, make: Callable[[], object]) -> Step:
    return Step(f"making the image {image}", lambda: images.there(image), make)


def _all_there(kept: Cache) -> bool:
    return all(go_programs.there(kept, name) for name in go_programs.NODE_PROGRAMS)


def _built(kept: Cache, name: str) -> None:
    if name == "kubectl":
        go_programs.node_programs(kept)
        kept.program(name).symlink_to("kubernetes")
    else:
        go_programs.installed(kept, name)
