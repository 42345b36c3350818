"""How much is measured: the default form, the long form, and one of seconds for the tests."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.sender import Load

ASSOCIATIONS = (1, 4, 8, 16)
_SMALL, _CT, _HUGE, _LARGE = (32, 32), (512, 512), (15259, 16384), (2048, 2048)


@dataclass(frozen=True)
class Plan:
    """The sizes of all families."""

    rounds: int
    receiving: Sequence[Load]
    storing: Sequence[Load]
    distance: Sequence[Load]
    replicas: Sequence[int]
    replicas_load: Load
    workers: Sequence[int]
    """Of proxy and ingestion service, under the load of `replicas_load`."""
    compressing: Sequence[Load]
    rates: Sequence[str]
    """Rate limits in bytes per second, under the loads of `compressing`."""
    delay: float
    """Seconds that a byte needs to the other end; the way there and back takes twice that."""
    catalogue_sizes: Sequence[int]
    peer_catalogue_sizes: Sequence[int]
    """The sizes at which Orthanc is filled, too: each study goes through its C-STORE."""
    queries: int
    events: int
    filling: Sequence[int]
    """The numbers of instances between which a catalogue's rate is measured from empty on."""
    study_instances: int
    requests: int
    large_frames: int
    limit_operations: int


def _loads(
    shape: tuple[int, int], objects: int, associations: Sequence[int] = ASSOCIATIONS
) -> list[Load]:
    return [Load(objects, *shape, each) for each in associations]


def _pictures(objects: int, associations: Sequence[int]) -> list[Load]:
    shapes = (("CT", 512, 512, 1), ("MR", 484, 484, 1), ("large MR", 1024, 1024, 3))
    return [
        Load(objects // share, rows, columns, each, picture)
        for picture, rows, columns, share in shapes
        for each in associations
    ]


DEFAULT = Plan(
    rounds=3,
    receiving=_loads(_SMALL, 800, (1, 4)) + _loads(_CT, 240, (1, 4)),
    storing=_loads(_SMALL, 160) + _loads(_CT, 64) + _loads(_HUGE, 1, (1,)),
    distance=_loads(_SMALL, 64, (1, 8)) + _loads(_CT, 48, (1, 8)),
    replicas=(1, 2, 3),
    replicas_load=Load(64, *_CT, 8),
    workers=(1, 2),
    compressing=_pictures(48, (1, 8)),
    rates=("10M",),
    delay=0.020,
    catalogue_sizes=(1_000, 100_000),
    peer_catalogue_sizes=(1_000, 100_000),
    queries=10,
    events=1_024,
    filling=(10_000, 20_000),
    study_instances=500,
    requests=20,
    large_frames=512,
    limit_operations=200,
)
LONG = Plan(
    rounds=5,
    receiving=DEFAULT.receiving,
    storing=_loads(_SMALL, 400) + _loads(_CT, 160) + _loads(_HUGE, 4, (1, 4)),
    distance=DEFAULT.distance,
    replicas=DEFAULT.replicas,
    replicas_load=DEFAULT.replicas_load,
    workers=DEFAULT.workers,
    compressing=_pictures(96, (1, 8)),
    rates=("1M", "10M"),
    delay=DEFAULT.delay,
    catalogue_sizes=(1_000, 100_000, 1_000_000),
    peer_catalogue_sizes=(1_000, 100_000),
    queries=50,
    events=2_048,
    filling=(100_000, 500_000, 1_000_000, 2_000_000, 5_000_000),
    study_instances=500,
    requests=50,
    large_frames=2048,
    limit_operations=500,
)
SHORT = Plan(
    rounds=1,
    receiving=_loads(_SMALL, 8, (1, 4)) + _loads(_CT, 4, (1,)),
    storing=_loads(_SMALL, 8, (1, 4)) + _loads(_LARGE, 1, (1,)),
    distance=_loads(_SMALL, 4, (1,)),
    replicas=(1, 2),
    replicas_load=Load(4, *_CT, 2),
    workers=(1, 2),
    compressing=_pictures(2, (1,))[:1],
    rates=("10M",),
    delay=0.002,
    catalogue_sizes=(200,),
    peer_catalogue_sizes=(200,),
    queries=2,
    events=128,
    filling=(200, 400),
    study_instances=10,
    requests=2,
    large_frames=4,
    limit_operations=5,
)
PLANS = {"default": DEFAULT, "long": LONG, "short": SHORT}


@dataclass(frozen=True)
class Selection:
    """The cases to measure: those whose family and name contain `text`, all without it."""

    text: str = ""

    def wants(self, family: str, case: str) -> bool:
        """Return whether a case is to be measured."""
        return self.text.lower() in f"{family}: {case}".lower()
