"""C-FIND and QIDO-RS through everything, at several sizes of the catalogue, against Orthanc.

One client asks one question after another, each for another patient or day: first match and all.
Afterwards the catalogues of the same size record more events (`recording`).
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks import recording
from benchmarks.association import STUDY_ROOT_FIND, Association
from benchmarks.catalogues import Events, filled_catalogues, filled_orthanc
from benchmarks.ct_image import STUDIES_A_DAY, Identity
from benchmarks.http_client import Answer, Client, Target, repeat
from benchmarks.plan import Plan, Selection
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Outcome, Row
from benchmarks.sender import Senders
from benchmarks.systems import ORTHANC, System

FAMILY = "searching"
_JSON = "application/dicom+json"
_RETURNED = (
    (0x0008, 0x0030, "TM", ""),
    (0x0008, 0x0050, "SH", ""),
    (0x0008, 0x1030, "LO", ""),
    (0x0010, 0x0010, "PN", ""),
    (0x0020, 0x000D, "UI", ""),
)
_KEYS = {"PatientID": (0x0010, 0x0020, "LO"), "StudyDate": (0x0008, 0x0020, "DA")}
_STEP = 7919  # coprime to all sizes: each question is for another patient or day


class _Question:
    """A key whose value changes from one question to the next; `expected` matches each."""

    def __init__(self, name: str, keyword: str, field: str, identity: Identity, size: int) -> None:
        self.name, self.keyword, self._field = name, keyword, field
        self._identity, self._size, self._number = identity, size, 0
        self.expected = 1 if keyword == "PatientID" else min(size, STUDIES_A_DAY)

    def value(self) -> str:
        """Return the next value to search for."""
        self._number += 1
        return self._identity.values(self._number * _STEP % self._size)[self._field]

    def check(self, count: int) -> None:
        """Raise RuntimeError unless there are as many matches as there are studies."""
        if count != self.expected:
            raise RuntimeError(f"{self.name}: {count} matches instead of {self.expected}.")


def rows(plan: Plan, senders: Senders, selection: Selection) -> Iterator[list[Row]]:
    """Measure each question at each size, then recording at this size."""
    for size in plan.catalogue_sizes:
        cases = [f"{protocol}, {each}" for protocol in _PROTOCOLS for each in _questions_at(size)]
        wanted = [case for case in cases if selection.wants(FAMILY, case)]
        batches = [
            each
            for each, case in recording.case_names(size).items()
            if selection.wants(recording.FAMILY, case)
        ]
        if wanted or batches:
            yield from _rows_at(plan, senders, size, wanted, batches)


def _rows_at(
    plan: Plan, senders: Senders, size: int, wanted: list[str], batches: list[int]
) -> Iterator[list[Row]]:
    identity = senders.new_identity(images_a_study=1)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ours = stack.enter_context(filled_catalogues(folder, identity, size))
        systems = dict(ours)
        if wanted and size in plan.peer_catalogue_sizes:
            peer = filled_orthanc(folder, senders, identity, size)
            systems[ORTHANC] = stack.enter_context(peer)
        for question in _questions(identity, size):
            for protocol, operation in _PROTOCOLS.items():
                case = f"{protocol}, {question.name}"
                if case in wanted:
                    contestants = _contestants(systems, operation, question, plan.queries)
                    yield measure(FAMILY, case, contestants, plan.rounds, ORTHANC)
        for a_request in batches:
            events = Events(senders.new_identity(images_a_study=1))
            yield recording.measure_recording(ours, events, size, a_request, plan)


def _questions_at(size: int) -> list[str]:
    return [each.name for each in _questions(Identity(0), size)]


def _questions(identity: Identity, size: int) -> list[_Question]:
    studies = f"of {size:,} studies"
    day = min(size, STUDIES_A_DAY)
    return [
        _Question(f"one patient {studies}", "PatientID", "patient_id", identity, size),
        _Question(f"the {day} of a day {studies}", "StudyDate", "study_date", identity, size),
    ]


def _contestants(
    systems: Mapping[str, System],
    operation: Callable[[str, System, _Question, int], Callable[[], Outcome]],
    question: _Question,
    count: int,
) -> dict[str, Contestant]:
    return {
        name: Contestant(operation(name, system, question, count), system.processes)
        for name, system in systems.items()
    }


def _c_find_operation(
    _: str, system: System, question: _Question, count: int
) -> Callable[[], Outcome]:
    def search() -> Outcome:
        association = Association(system.port, STUDY_ROOT_FIND)
        cpu, answers = time.process_time(), []
        for _ in range(count):
            key = (*_KEYS[question.keyword], question.value())
            answers.append(association.find([*_RETURNED, key]))
            question.check(answers[-1].count)
        outcome = Outcome(
            operations=count,
            octets=0,
            seconds=sum(each.last for each in answers),
            latencies=[each.last for each in answers],
            first=[each.first for each in answers],
            cpu={"client": time.process_time() - cpu},
        )
        association.release()
        return outcome

    search()
    return search


def _qido_operation(
    name: str, system: System, question: _Question, count: int
) -> Callable[[], Outcome]:
    client = Client(Target(system.http_port, "/dicom-web" if name == ORTHANC else "/dicomweb"))

    def send(_: int) -> Answer:
        answer = client.get(f"/studies?{question.keyword}={question.value()}", _JSON)
        question.check(len(json.loads(answer.body)))
        return answer

    send(0)
    return lambda: repeat(count, send)


_PROTOCOLS = {"C-FIND": _c_find_operation, "QIDO-RS": _qido_operation}
