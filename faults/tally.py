"""The count after a fault: what was acknowledged against what the bucket and the catalogue have.

The bucket and the database are read directly, without the services: a service that answers wrongly
must not hide a loss.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass

import obstore
import psycopg

from faults.load import Load
from faults.system import BUCKET, System
from harness.instances import MadeInstance, data_set_in

_ENTRIES = """
    SELECT i.sop_instance_uid, o.object_name, o.sha256
    FROM instances i JOIN objects o ON o.id = i.object
"""
_OBJECTS = "SELECT sop_instance_uid, object_name FROM objects"


@dataclass(frozen=True)
class Tally:
    """The result of one fault."""

    operations: int
    acknowledged: int
    refused: dict[str, int]
    """Other responses by their status in hexadecimal; `none` where none came."""
    lost: int
    wrong: int
    doubled: int
    recovery: float
    """Seconds from the repair to the next acknowledged instance."""

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was lost, wrong or doubled."""
        return not (self.lost or self.wrong or self.doubled)


def count(system: System, load: Load, recovery: float) -> Tally:
    """Count every acknowledged instance."""
    digests = _digests(system)
    entries = {uid: (name, sha) for uid, name, sha in _select(system, _ENTRIES)}
    per_instance = Counter(uid for uid, _ in _select(system, _OBJECTS))
    acknowledged = list(load.acknowledged.values())
    refused = Counter(load.statuses)
    del refused[0]
    return Tally(
        operations=load.operations,
        acknowledged=len(acknowledged),
        refused={status_name(status): many for status, many in sorted(refused.items())},
        lost=sum(not _is_known(each, entries, digests) for each in acknowledged),
        wrong=sum(_is_wrong(each, entries, digests) for each in acknowledged),
        doubled=sum(per_instance[each.sop_instance_uid] > 1 for each in acknowledged),
        recovery=recovery,
    )


def missing(system: System, instances: Iterable[MadeInstance]) -> int:
    """Return how many instances have no entry in the catalogue yet."""
    known = {uid for uid, _, _ in _select(system, _ENTRIES)}
    return sum(each.sop_instance_uid not in known for each in instances)


def status_name(status: int) -> str:
    """Return a status in hexadecimal, `none` for -1."""
    return "none" if status < 0 else f"{status:04X}"


def _is_known(
    instance: MadeInstance, entries: dict[str, tuple[str, str]], digests: dict[str, str]
) -> bool:
    entry = entries.get(instance.sop_instance_uid)
    return entry is not None and entry[0] in digests


def _is_wrong(
    instance: MadeInstance, entries: dict[str, tuple[str, str]], digests: dict[str, str]
) -> bool:
    entry = entries.get(instance.sop_instance_uid)
    if entry is None or entry[0] not in digests:
        return False  # lost
    return instance.sha256 not in entry[1] or digests[entry[0]] != instance.sha256


def _select(system: System, statement: str) -> list[tuple[str, ...]]:
    if system.postgresql is not None:
        url = system.space.database_url.replace("+psycopg", "")
        with psycopg.connect(url) as connection:
            return list(connection.execute(statement.encode()).fetchall())
    file = f"file:{system.space.folder}/catalogue.db?mode=ro"
    with closing(sqlite3.connect(file, uri=True)) as database:
        return list(database.execute(statement).fetchall())


def _digests(system: System) -> dict[str, str]:
    """Return the SHA-256 of the data set in each object, by the object's name."""
    if system.minio is not None:
        store = system.minio.store(BUCKET)
        return {
            key: _digest(bytes(obstore.get(store, key).bytes()))
            for key in system.minio.keys(BUCKET)
        }
    bucket = system.space.bucket
    return {
        str(path.relative_to(bucket)): _digest(path.read_bytes())
        for path in bucket.rglob("*.dcm")
        if path.is_file()
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(data_set_in(content)).hexdigest()
