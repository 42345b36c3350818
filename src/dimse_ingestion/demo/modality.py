"""The modality's part: C-ECHO, C-STORE and C-FIND by pynetdicom, which knows nothing of us.

Files are sent as they are, without decoding (`STORE_SEND_CHUNKED_DATASET`), so that what arrives
can be compared byte for byte.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association

from dimse_ingestion.demo.images import DemoImage

_VERIFICATION = UID("1.2.840.10008.1.1")
_PATIENT_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.1.1")
_STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
_FAILED_TO_CONNECT = "The proxy did not accept the association"


@dataclass(frozen=True)
class Sent:
    """How one C-STORE ended; `seconds` from request to response."""

    image: DemoImage
    status: int
    comment: str
    seconds: float


class Modality:
    """An AE that sends images and asks for them; `address` is (host, port)."""

    def __init__(self, address: tuple[str, int], called_ae_title: str) -> None:
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._address = address
        self._called = called_ae_title

    def echo(self) -> int:
        """The status of a C-ECHO."""
        with self._associated([(_VERIFICATION, None)]) as assoc:
            return _status(assoc.send_c_echo())

    def send(self, images: list[DemoImage]) -> Iterator[Sent]:
        """Send each image once, on one association for each kind of image."""
        for contexts, group in _grouped(images):
            with self._associated(contexts) as assoc:
                yield from (_stored(assoc, image) for image in group)

    def find(self, identifier: Dataset, *, patient_root: bool = False) -> list[Dataset]:
        """The matches; raises RuntimeError when the C-FIND ends in a failure."""
        model = _PATIENT_ROOT_FIND if patient_root else _STUDY_ROOT_FIND
        with self._associated([(model, None)]) as assoc:
            return list(_matches(assoc.send_c_find(identifier, model)))

    @contextmanager
    def _associated(self, contexts: list[tuple[str, str | None]]) -> Iterator[Association]:
        ae = AE(ae_title="DEMO")
        for abstract_syntax, transfer_syntax in contexts:
            ae.add_requested_context(abstract_syntax, transfer_syntax)
        host, port = self._address
        assoc = ae.associate(host, port, ae_title=self._called)
        if not assoc.is_established:
            raise RuntimeError(f"{_FAILED_TO_CONNECT} at {host}:{port}.")
        try:
            yield assoc
        finally:
            assoc.release()


def _grouped(
    images: list[DemoImage],
) -> Iterator[tuple[list[tuple[str, str | None]], list[DemoImage]]]:
    groups: dict[str, list[DemoImage]] = {}
    for image in images:
        groups.setdefault(str(image.header.SOPClassUID), []).append(image)
    for sop_class, group in groups.items():
        syntaxes = dict.fromkeys(str(image.transfer_syntax) for image in group)
        yield [(sop_class, syntax) for syntax in syntaxes], group


def _stored(assoc: Association, image: DemoImage) -> Sent:
    started = time.perf_counter()
    response = assoc.send_c_store(image.path)
    seconds = time.perf_counter() - started
    return Sent(image, _status(response), str(response.get("ErrorComment", "")), seconds)


def _status(response: Dataset) -> int:
    if "Status" not in response:
        raise RuntimeError("The proxy ended the association without an answer.")
    return int(response.Status)


def _matches(responses: Iterator[tuple[Dataset, Dataset | None]]) -> Iterator[Dataset]:
    for response, identifier in responses:
        status = _status(response)
        if identifier is not None:
            yield identifier
        elif status != 0:
            raise RuntimeError(f"C-FIND ended with {status:04X}H {response.get('ErrorComment')}")
