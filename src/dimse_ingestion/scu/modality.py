"""A modality that sends C-ECHO, C-STORE and C-FIND with pynetdicom.

Files are sent without decoding (`STORE_SEND_CHUNKED_DATASET`), so that the stored bytes can be
compared with them. It does not use the product's own upper layer.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association

from dimse_ingestion.scu.instance_file import InstanceFile

_VERIFICATION = UID("1.2.840.10008.1.1")
_PATIENT_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.1.1")
_STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
_LONGEST_CONNECT = 10.0
_TRIES = 3
_LONGEST_ANSWER = 120.0
"""Seconds; a proxy answers within its operation time-out, by default 50 s."""


class NoAnswer(RuntimeError):
    """The other side did not answer, or answered with a failure; the message says which."""


@dataclass(frozen=True)
class StoreResult:
    """The result of one C-STORE; `seconds` is the time from request to response."""

    image: InstanceFile
    status: int
    comment: str
    seconds: float


class Modality:
    """Send images and queries as an AE; `address` is (host, port).

    All methods may raise NoAnswer.
    """

    def __init__(
        self, address: tuple[str, int], called_ae_title: str, calling_ae_title: str = "DEMO"
    ) -> None:
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._address = address
        self._called = called_ae_title
        self._calling = calling_ae_title

    def echo(self) -> int:
        """Send a C-ECHO and return its status."""
        with self._association([(_VERIFICATION, None)]) as assoc:
            return _status(assoc.send_c_echo())

    def send(self, images: list[InstanceFile]) -> Iterator[StoreResult]:
        """Send each image once, on one association for each SOP class."""
        for contexts, group in _grouped(images):
            with self._association(contexts) as assoc:
                yield from (_store(assoc, image) for image in group)

    def find(self, identifier: Dataset, *, patient_root: bool = False) -> list[Dataset]:
        """Send a C-FIND and return its matches; raises NoAnswer if it fails."""
        model = _PATIENT_ROOT_FIND if patient_root else _STUDY_ROOT_FIND
        with self._association([(model, None)]) as assoc:
            return list(_matches(assoc.send_c_find(identifier, model)))

    def _request_association(self, ae: AE) -> Association:
        """Request an association and return it, established or not.

        The request is repeated if the connection ended without an answer: on a busy machine
        pynetdicom overlooks a rejection that is followed by the end of the connection.
        """
        host, port = self._address
        for _ in range(_TRIES):
            try:
                assoc = ae.associate(host, port, ae_title=self._called)
            except (OSError, UnicodeError) as unknown:  # a name that can't be looked up
                raise NoAnswer(f"{host} is not known: correct the host's name.") from unknown
            if assoc.is_established or assoc.acceptor.primitive is not None:
                break
        return assoc

    @contextmanager
    def _association(self, contexts: list[tuple[str, str | None]]) -> Iterator[Association]:
        ae = AE(ae_title=self._calling)
        ae.connection_timeout = _LONGEST_CONNECT
        ae.dimse_timeout = _LONGEST_ANSWER
        for abstract_syntax, transfer_syntax in contexts:
            ae.add_requested_context(abstract_syntax, transfer_syntax)
        host, port = self._address
        assoc = self._request_association(ae)
        if not assoc.is_established:
            raise NoAnswer(f"{self._called}@{host}:{port} {_failure(assoc)}.")
        _keep_responses_for_waiters(assoc)
        try:
            yield assoc
        finally:
            assoc.release()


def _keep_responses_for_waiters(assoc: Association) -> None:
    """Stop pynetdicom's reactor, which serves requests, from taking responses.

    The reactor polls for any message; on a busy machine it takes the response that `send_c_store`
    waits for, drops it ("unexpected C-STORE service message"), and the wait times out. A requestor
    gets no requests, so only blocking calls get messages.
    """
    waited_for = assoc.dimse.get_msg
    assoc.dimse.get_msg = lambda block=False: waited_for(block) if block else (None, None)  # type: ignore[method-assign]


def _failure(assoc: Association) -> str:
    """Return why the association was not established, as the end of a sentence."""
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        return f"rejected the association ({answer.result_str}: {answer.reason_str})"
    return "is not reached, or accepts none of the presentation contexts"


def _grouped(
    images: list[InstanceFile],
) -> Iterator[tuple[list[tuple[str, str | None]], list[InstanceFile]]]:
    groups: dict[str, list[InstanceFile]] = {}
    for image in images:
        groups.setdefault(str(image.header.SOPClassUID), []).append(image)
    for sop_class, group in groups.items():
        syntaxes = dict.fromkeys(str(image.transfer_syntax) for image in group)
        yield [(sop_class, syntax) for syntax in syntaxes], group


def _store(assoc: Association, image: InstanceFile) -> StoreResult:
    started = time.perf_counter()
    response = assoc.send_c_store(image.path)
    seconds = time.perf_counter() - started
    return StoreResult(image, _status(response), str(response.get("ErrorComment", "")), seconds)


def _status(response: Dataset) -> int:
    if "Status" not in response:
        raise NoAnswer("The association ended without an answer.")
    return int(response.Status)


def _matches(responses: Iterator[tuple[Dataset, Dataset | None]]) -> Iterator[Dataset]:
    for response, identifier in responses:
        status = _status(response)
        if identifier is not None:
            yield identifier
        elif status != 0:
            comment = str(response.get("ErrorComment", ""))
            raise NoAnswer(f"C-FIND ended with {status:04X}H {comment}".rstrip())
