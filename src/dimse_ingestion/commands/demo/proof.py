"""Proof that every stored data set is in the bucket, which is read without our code."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dimse_ingestion.scu.instance_file import InstanceFile, data_set_offset
from dimse_ingestion.scu.modality import StoreResult


@dataclass(frozen=True)
class Proof:
    """The comparison of the bucket with the images that were sent."""

    objects: int
    identical: int
    missing: list[InstanceFile]
    unexpected: list[Path]


def proof(bucket: Path, sent: list[StoreResult]) -> Proof:
    """Compare each object's data set with each image's, byte for byte (by SHA-256)."""
    stored = {_digest(path): path for path in sorted(bucket.rglob("*.dcm"))}
    wanted = {each.image.sha256: each.image for each in sent}
    return Proof(
        objects=len(stored),
        identical=sum(digest in stored for digest in wanted),
        missing=[image for digest, image in wanted.items() if digest not in stored],
        unexpected=[path for digest, path in stored.items() if digest not in wanted],
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()[data_set_offset(path) :]).hexdigest()
