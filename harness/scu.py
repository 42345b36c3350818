"""A second SCU, pynetdicom's: sends files as they are, queries, and returns each status.

Beside DCMTK's tools (`modalities`) because it sends every transfer syntax, reports every status and
comment, and can be many at once in threads. Nothing of the product here.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from harness.modalities import Peer

VERIFICATION = UID("1.2.840.10008.1.1")
PATIENT_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.1.1")
STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
_config.STORE_SEND_CHUNKED_DATASET = True
_MOST_CONTEXTS = 128
NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Answer:
    """The result of one C-STORE; `status` is -1 without an answer or an accepted context."""

    path: Path
    status: int
    comment: str = ""


def _extended(sop_class_uid: str, information: bytes) -> SOPClassExtendedNegotiation:
    negotiation = SOPClassExtendedNegotiation()
    negotiation.sop_class_uid = UID(sop_class_uid)
    negotiation.service_class_application_information = information
    return negotiation


@contextmanager
def associate(
    peer: Peer,
    contexts: Sequence[tuple[str, str | None]],
    seconds: float = 120,
    extended: bytes = b"",
) -> Iterator[Association]:
    """Yield an association, with `extended` negotiation of the first class if there is any.

    Raises ConnectionError when it isn't accepted.
    """
    ae = AE(ae_title=peer.calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = seconds
    for abstract_syntax, transfer_syntax in contexts:
        ae.add_requested_context(abstract_syntax, transfer_syntax)
    negotiation: list[Any] | None = [_extended(contexts[0][0], extended)] if extended else None
    assoc = ae.associate(peer.host, peer.port, ae_title=peer.called, ext_neg=negotiation)
    if not assoc.is_established:
        raise ConnectionError("the association was not accepted")
    _read_responses_only(assoc)
    try:
        yield assoc
    finally:
        assoc.release()


def _read_responses_only(assoc: Association) -> None:
    """Pass messages only to those who wait for a response.

    pynetdicom's reactor looks for requests, and on a busy machine takes the response to ours, which
    it drops as unexpected. A requestor gets no requests.
    """
    get_message = assoc.dimse.get_msg
    services: Any = assoc.dimse
    services.get_msg = lambda block=False: get_message(block) if block else (None, None)


def store(peer: Peer, files: Sequence[Path]) -> list[Answer]:
    """Send files, on as many associations as their contexts need; continues after a lost one."""
    answers: list[Answer] = []
    for contexts, group in _group_by_contexts(files):
        waiting = list(group)
        while waiting:
            answers += _store_on_association(peer, contexts, waiting)
            waiting = waiting[_count_answered(answers, waiting) :]
    return answers


def _count_answered(answers: Sequence[Answer], waiting: Sequence[Path]) -> int:
    done = {answer.path for answer in answers}
    return sum(path in done for path in waiting)


def _store_on_association(
    peer: Peer, contexts: Sequence[tuple[str, str | None]], files: Sequence[Path]
) -> list[Answer]:
    answers: list[Answer] = []
    try:
        with associate(peer, contexts) as assoc:
            for path in files:
                answers.append(_store_one(assoc, path))
                if answers[-1] == Answer(path, -1, NO_ANSWER):
                    return answers
    except (ConnectionError, RuntimeError) as lost:
        return [*answers, Answer(files[len(answers)], -1, str(lost))]
    return answers


def _store_one(assoc: Association, path: Path) -> Answer:
    """Return the answer to one C-STORE; -1 where none came or its context was not accepted."""
    try:
        response = assoc.send_c_store(path)
    except ValueError as no_context:
        return Answer(path, -1, str(no_context))
    if "Status" not in response:
        return Answer(path, -1, NO_ANSWER)
    return Answer(path, int(response.Status), str(response.get("ErrorComment", "")))


def _group_by_contexts(
    files: Sequence[Path],
) -> Iterator[tuple[list[tuple[str, str | None]], list[Path]]]:
    contexts: dict[tuple[str, str | None], None] = {}
    group: list[Path] = []
    for path in files:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
        context = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        if len(contexts | {context: None}) > _MOST_CONTEXTS:
            yield list(contexts), group
            contexts, group = {}, []
        contexts[context] = None
        group.append(path)
    if group:
        yield list(contexts), group


async def store_in_thread(peer: Peer, files: Sequence[Path]) -> list[Answer]:
    """Call `store` in a thread, while the event loop runs."""
    return await asyncio.to_thread(store, peer, files)


def find(
    peer: Peer, identifier: Dataset, model: UID = STUDY_ROOT_FIND, extended: bytes = b""
) -> list[Dataset]:
    """Return the matches of one C-FIND; raises AssertionError when it ends in a failure."""
    matches: list[Dataset] = []
    with associate(peer, [(model, None)], extended=extended) as assoc:
        for response, match in assoc.send_c_find(identifier, model):
            if match is not None:
                matches.append(match)
            elif response.get("Status") != 0:
                raise AssertionError(f"C-FIND ended with {response}")
    return matches


def echo(peer: Peer) -> int:
    """Return the status of a C-ECHO."""
    with associate(peer, [(VERIFICATION, None)]) as assoc:
        return int(assoc.send_c_echo().Status)
