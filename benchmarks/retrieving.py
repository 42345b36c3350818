"""DICOMweb of a CT study and of a large multi-frame image, against Orthanc's DICOMweb plugin.

One client, one kept-alive connection, one request after another. Both have the same instances,
stored by STOW-RS in the same rounds.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ct_image import CtImage, Identity
from benchmarks.http_client import Answer, Client, Target, repeat, store_length
from benchmarks.plan import Plan, Selection
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Outcome, Row
from benchmarks.sender import Senders
from benchmarks.systems import ORTHANC, OURS, Deployment, System, orthanc, our_services
from harness.multi_frames import FRAME, MultiFrame

FAMILY = "DICOMweb"
_A_REQUEST = 10
_SIDE = 256
_PIXEL_BYTES = _SIDE * _SIDE * 2
_JSON, _JPEG = "application/dicom+json", "image/jpeg"
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_FRAMES = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'


@dataclass(frozen=True)
class _Service:
    client: Client
    system: System


@dataclass(frozen=True)
class _Request:
    """A GET that is sent `count` times a round; `path` gives it for the number of a request.

    `is_complete` is false for an answer that is quick because something is missing.
    """

    name: str
    accept: str
    count: int
    path: Callable[[int], str]
    is_complete: Callable[[bytes], bool]


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure STOW-RS of a study and of a large instance, then requests for them."""
    if not any(selection.wants(FAMILY, case) for case in _case_names(plan)):
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        deployment = Deployment(dicomweb=True)
        ours = stack.enter_context(our_services(Path(name) / "ours", deployment))
        theirs = stack.enter_context(orthanc(Path(name) / "orthanc", dicomweb=True))
        services = {
            OURS: _Service(Client(Target(ours.http_port, "/dicomweb")), ours),
            ORTHANC: _Service(Client(Target(theirs.http_port, "/dicom-web")), theirs),
        }
        study = _Study(plan, senders.new_identity())
        large = MultiFrame(plan.large_frames)
        yield _store_study(services, study)
        yield _store_large(services, large)
        for request in _requests(plan, study.identity, large):
            if selection.wants(FAMILY, request.name):
                yield _measure_request(services, request, plan.rounds)


def _case_names(plan: Plan) -> list[str]:
    requests = _requests(plan, Identity(0), MultiFrame(plan.large_frames))
    return ["STOW-RS", *(request.name for request in requests)]


@dataclass(frozen=True)
class _Study:
    """The instances of a study; all rounds together store each instance once."""

    plan: Plan
    identity: Identity

    def parts(self) -> list[bytes]:
        """Return the instances as Part-10 files."""
        image = CtImage(_SIDE, _SIDE, self.identity)
        return [image.part10(number) for number in range(self.plan.study_instances)]


def _store_study(services: Mapping[str, _Service], study: _Study) -> list[Row]:
    """Store the study in as many shares as there are rounds."""
    files, rounds = study.parts(), study.plan.rounds
    share = -(-len(files) // rounds // _A_REQUEST) * _A_REQUEST
    case = f"STOW-RS of {_A_REQUEST} CT of 128 KiB a request"
    contestants = {
        name: Contestant(_StudyStore(service.client, files, share), service.system.processes)
        for name, service in services.items()
    }
    measured = measure(FAMILY, case, contestants, rounds, ORTHANC)
    _check_counts(services, len(files))
    return measured


class _StudyStore:
    """Store the next share of the files at each call."""

    def __init__(self, client: Client, files: list[bytes], share: int) -> None:
        self._client, self._files, self._share = client, files, share
        self._start = 0

    def __call__(self) -> Outcome:
        files = self._files[self._start : self._start + self._share]
        self._start += self._share
        groups = [files[at : at + _A_REQUEST] for at in range(0, len(files), _A_REQUEST)]
        length = store_length([len(file) for file in groups[0]])
        return repeat(len(groups), lambda number: _store(self._client, groups[number]), length)


def _store(client: Client, files: list[bytes]) -> Answer:
    return client.store([[file] for file in files], store_length([len(file) for file in files]))


def _store_large(services: Mapping[str, _Service], large: MultiFrame) -> list[Row]:
    """Store a large instance, its body sent frame by frame."""
    length = store_length([sum(map(len, large.file()))])

    def contestant(service: _Service) -> Contestant:
        def store() -> Outcome:
            started = time.perf_counter()
            answer = service.client.store([large.file()], length)
            return Outcome(1, length, time.perf_counter() - started, [answer.last])

        return Contestant(store, service.system.processes)

    contestants = {name: contestant(service) for name, service in services.items()}
    return measure(FAMILY, f"STOW-RS of {_large_name(large)}", contestants, 1, ORTHANC)


def _large_name(large: MultiFrame) -> str:
    return f"{large.frames} frames, {large.frames * FRAME // 2**20} MiB"


def _requests(plan: Plan, identity: Identity, large: MultiFrame) -> list[_Request]:
    first, count = identity.values(0), plan.study_instances
    study = f"/studies/{first['study']}"
    series = f"{study}/series/{first['series']}"
    few = max(1, plan.requests // 7)

    def instance(number: int) -> str:
        return f"{series}/instances/{identity.values(number * 7 % count)['instance']}"

    def frame(number: int) -> str:
        return f"{large.path}/frames/{number * 37 % large.frames + 1}"

    search = f"{study}/instances?includefield=00280010&limit={count}"
    large_name, large_bytes = _large_name(large), large.frames * FRAME
    an_image, a_study = _has(_PIXEL_BYTES), _has(count * _PIXEL_BYTES)
    return [
        _Request("WADO-RS of an instance", _DICOM, plan.requests, instance, an_image),
        _Request(f"WADO-RS of a study of {count}", _DICOM, few, lambda _: study, a_study),
        _Request(
            f"metadata of a study of {count}",
            _JSON,
            few,
            lambda _: f"{study}/metadata",
            _lists(count),
        ),
        _Request("a frame", _FRAMES, plan.requests, lambda n: f"{instance(n)}/frames/1", an_image),
        _Request("rendered", _JPEG, plan.requests, lambda n: f"{instance(n)}/rendered", _is_jpeg),
        _Request(
            f"QIDO-RS of the study's {count} instances", _JSON, few, lambda _: search, _lists(count)
        ),
        _Request(f"WADO-RS of {large_name}", _DICOM, few, lambda _: large.path, _has(large_bytes)),
        _Request(f"a frame of {large_name}", _FRAMES, few, frame, _has(FRAME)),
    ]


def _has(octets: int) -> Callable[[bytes], bool]:
    return lambda body: octets <= len(body)


def _lists(count: int) -> Callable[[bytes], bool]:
    return lambda body: len(json.loads(body)) == count


def _is_jpeg(body: bytes) -> bool:
    return body.startswith(b"\xff\xd8")


def _measure_request(services: Mapping[str, _Service], request: _Request, rounds: int) -> list[Row]:
    def contestant(service: _Service) -> Contestant:
        def send(number: int) -> Answer:
            return service.client.get(request.path(number), request.accept)

        if not request.is_complete(send(0).body):
            raise RuntimeError(f"The answer is not complete: {request.name}")
        return Contestant(lambda: repeat(request.count, send), service.system.processes)

    contestants = {name: contestant(service) for name, service in services.items()}
    return measure(FAMILY, request.name, contestants, rounds, ORTHANC)


def _check_counts(services: Mapping[str, _Service], expected: int) -> None:
    for name, service in services.items():
        if (count := service.system.count()) != expected:
            raise RuntimeError(f"{name} has {count} instances after {expected} were stored.")
