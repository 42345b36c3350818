"""The commands `spool list`, `show`, `retry`, `export` and `drop` on a proxy's spool directory.

They are safe beside a running proxy: they read without its lock, and change only what it expects to
change (dead letters), or leave it a request. Nothing of a patient is printed.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dimse_ingestion.dicom import part10
from dimse_ingestion.durable.files import new_file, write_whole
from dimse_ingestion.outbox import dead_letters, files
from dimse_ingestion.outbox.browse import Item, State, items, outboxes
from dimse_ingestion.outbox.opened_entry import Damaged
from dimse_ingestion.outbox.segments import DamagedRecord
from dimse_ingestion.proxy.spooled_client import decode_request
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings

_WIDEST = 10_000  # columns
_GONE = (FileNotFoundError, files.DamagedFile, DamagedRecord)
Confirm = Callable[[str], bool]
"""Asks a question at the terminal and returns whether the answer is yes."""


def spool_directory(config: Path | None, directory: Path | None) -> Path:
    """Return the spool directory: as given, or the one of the proxy's settings.

    Raises ConfigurationMistake.
    """
    return directory if directory is not None else ProxySettings.load(config).spool_directory


def list_items(spool: Path, console: Console) -> int:
    """Print a line for each data set, and the number of damaged files; return the exit status."""
    found = _all(spool)
    table = Table("state", "operation id", "received", "bytes", "from", "reason", box=None)
    for item in found:
        request = decode_request(item.metadata)
        table.add_row(
            item.state.value,
            item.metadata.operation_id,
            _time(item.metadata.received_at),
            str(item.metadata.size),
            request.origin.calling_ae_title,
            f"{item.reason.status} {item.reason.comment}".strip(),
        )
    if found:
        # whole operation ids, also where the terminal is narrow or there is none
        options = console.options.update(width=_WIDEST)
        table.width = console.measure(table, options=options).maximum
        console.print(table, soft_wrap=True, highlight=False, markup=False)
    dead = sum(item.state is State.DEAD for item in found)
    damaged = sum(len(each.quarantined()) for each in outboxes(spool))
    summary = f"{len(found) - dead} waiting, {dead} dead letters, {damaged} in quarantine"
    console.print(summary, highlight=False)
    return 0


def show(spool: Path, operation_id: str, console: Console) -> int:
    """Print all that is known of one data set, without its content; return the exit status."""
    (item,) = _chosen(spool, [operation_id])
    request = decode_request(item.metadata)
    facts = {
        "state": item.state.value,
        "status": item.reason.status,
        "reason": item.reason.comment,
        "refused": _time(item.reason.refused_at) if item.reason.refused_at else "",
        "operation id": request.operation_id,
        "received": _time(item.metadata.received_at),
        "SOP class": request.sop_class_uid,
        "SOP instance": request.sop_instance_uid,
        "transfer syntax": request.transfer_syntax_uid,
        "bytes": str(request.size),
        "SHA-256": request.sha256,
        "calling AE title": request.origin.calling_ae_title,
        "called AE title": request.origin.called_ae_title,
        "peer": request.origin.peer_address,
        "file": str(item.place if isinstance(item.place, Path) else item.place.path),
    }
    for name, value in facts.items():
        if value:
            console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)
    return 0


def retry(spool: Path, operation_ids: Sequence[str], console: Console) -> int:
    """Have dead letters forwarded again, all of them without ids; return the exit status."""
    chosen = _chosen(spool, operation_ids) if operation_ids else _dead(spool)
    count = 0
    for item in chosen:
        if item.state is not State.DEAD or not isinstance(item.place, Path):
            raise ConfigurationMistake([f"{item.metadata.operation_id} waits already."])
        dead_letters.retry(item.folders, item.place)
        count += 1
    console.print(f"{count} will be forwarded again: soon, or when the proxy starts.")
    return 0


def export(
    spool: Path,
    operation_ids: Sequence[str],
    folder: Path,
    console: Console,
    *,
    waiting: bool = False,
) -> int:
    """Write data sets as DICOM files; return the exit status, 1 if one is damaged.

    Without ids these are all dead letters, and with `waiting` also all that wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if operation_ids:
        chosen = _chosen(spool, operation_ids)
    else:
        chosen = _all(spool) if waiting else _dead(spool)
    status = 0
    for item in chosen:
        operation_id = item.metadata.operation_id
        try:
            path = _write_part10(item, folder)
        except Damaged:
            console.print(f"{operation_id} is damaged: nothing is written.", highlight=False)
            status = 1
        except _GONE:
            if operation_ids:
                raise ConfigurationMistake(
                    [f"{operation_id} is gone: it was forwarded meanwhile."]
                ) from None
        else:
            console.print(str(path), highlight=False, markup=False, soft_wrap=True)
    return status


def drop(spool: Path, operation_ids: Sequence[str], confirm: Confirm, console: Console) -> int:
    """Delete data sets for good, after two questions; return the exit status."""
    chosen = _chosen(spool, operation_ids)
    count = len(chosen)
    sure = confirm(f"Delete {count} data sets that were answered with success?") and confirm(
        "They may exist nowhere else. Delete them for good?"
    )
    if not sure:
        console.print("Nothing is deleted.")
        return 1
    waiting = 0
    for item in chosen:
        if item.state is State.DEAD and isinstance(item.place, Path):
            dead_letters.drop(item.place)
        else:
            dead_letters.request_drop(item.folders, item.metadata.operation_id)
            waiting += 1
    by_proxy = f"; the proxy deletes {waiting} that wait, within a minute of its running"
    console.print(f"{count - waiting} deleted{by_proxy if waiting else ''}.", soft_wrap=True)
    return 0


def _write_part10(item: Item, folder: Path) -> Path:
    request = decode_request(item.metadata)
    path = folder / f"{item.metadata.operation_id}.dcm"
    source = item.open()
    if isinstance(source, files.OpenFile) and not source.is_intact():
        source.close()
        raise Damaged("its bytes on the disk have changed")
    with new_file(path) as descriptor:
        header = part10.header(
            request.sop_class_uid, request.sop_instance_uid, request.transfer_syntax_uid
        )
        write_whole(descriptor, header)
        for piece in files.pieces(source, item.metadata.size):
            write_whole(descriptor, piece)
    if isinstance(source, files.OpenFile):
        source.close()
    return path


def _all(spool: Path) -> list[Item]:
    if not spool.is_dir():
        raise ConfigurationMistake([f"There is no spool directory {spool}."])
    return [item for each in outboxes(spool) for item in items(each)]


def _dead(spool: Path) -> list[Item]:
    return [item for item in _all(spool) if item.state is State.DEAD]


def _chosen(spool: Path, operation_ids: Sequence[str]) -> list[Item]:
    by_id = {item.metadata.operation_id: item for item in _all(spool)}
    missing = [each for each in operation_ids if each not in by_id]
    if missing:
        raise ConfigurationMistake(
            [f"{each} is not in the spool: see `dimse-ingestion spool list`." for each in missing]
        )
    return [by_id[each] for each in dict.fromkeys(operation_ids)]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
