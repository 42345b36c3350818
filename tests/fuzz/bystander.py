"""Someone who echoes, stores, searches and reads all the while, and measures how long each takes.

What was acknowledged is remembered, to be looked for at the end.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from pydicom import dcmread

from harness import scu
from harness.instances import MadeInstance, data_set_in, made_instances
from harness.modalities import Peer

_PAUSE = 0.2


@dataclass(frozen=True)
class Measured:
    """One operation; `problem` is empty when it succeeded."""

    name: str
    began: float
    seconds: float
    problem: str


@dataclass
class Bystander:
    """A modality and a reader; `instances` are the ones it may send."""

    peer: Peer
    dicomweb: str
    instances: list[MadeInstance]
    measured: list[Measured] = field(default_factory=list)
    acknowledged: list[MadeInstance] = field(default_factory=list)

    def once(self) -> list[Measured]:
        """Do everything once, and return how long each took."""
        return [
            self._measure("C-ECHO", self.echo),
            self._measure("C-STORE", self._store),
            self._measure("QIDO-RS", self._search),
            self._measure("WADO-RS", self._retrieve),
        ]

    def until(self, stop: threading.Event) -> None:
        """Repeat until the stop event is set."""
        while not stop.wait(_PAUSE):
            self.once()

    def missing(self) -> list[str]:
        """Return the acknowledged instances that are not there any more, byte for byte."""
        match = []
        for each in self.acknowledged:
            try:
                digest = hashlib.sha256(self.data_set(each)).hexdigest()
            except OSError as error:
                digest = str(error)
            if digest != each.sha256:
                match.append(f"{each.sop_instance_uid}: {digest}")
        return match

    def data_set(self, instance: MadeInstance) -> bytes:
        """Return an instance's data set by WADO-URI."""
        output = dcmread(instance.path, stop_before_pixels=True)
        query = {
            "requestType": "WADO",
            "studyUID": output.StudyInstanceUID,
            "seriesUID": output.SeriesInstanceUID,
            "objectUID": instance.sop_instance_uid,
            "contentType": "application/dicom",
        }
        with urlopen(f"{self.dicomweb}/wado?{urlencode(query)}", timeout=60) as answer:
            return data_set_in(answer.read())

    def _measure(self, name: str, operation: Callable[[], None]) -> Measured:
        began = time.monotonic()
        try:
            operation()
            problem = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, the service did not serve
            problem = f"{type(error).__name__}: {error}"
        done = Measured(name, began, time.monotonic() - began, problem)
        self.measured.append(done)
        return done

    def echo(self) -> None:
        """Send a C-ECHO, which reaches the catalogue."""
        with scu.associate(self.peer, [(scu.VERIFICATION, None)]) as association:
            status = association.send_c_echo()
        assert status.get("Status") == 0, status

    def _store(self) -> None:
        instance = self.instances[len(self.acknowledged) % len(self.instances)]
        (answer,) = scu.store(self.peer, [instance.path])
        assert answer.status == 0, answer
        if len(self.acknowledged) < len(self.instances):
            self.acknowledged.append(instance)

    def _search(self) -> None:
        uid = self.acknowledged[0].sop_instance_uid
        with urlopen(f"{self.dicomweb}/instances?SOPInstanceUID={uid}", timeout=60) as answer:
            assert uid.encode() in answer.read()

    def _retrieve(self) -> None:
        instance = self.acknowledged[-1]
        assert hashlib.sha256(self.data_set(instance)).hexdigest() == instance.sha256


def instances(folder: Path, count: int = 400) -> list[MadeInstance]:
    """Make what it sends: small images."""
    return made_instances(folder, count, 512)
