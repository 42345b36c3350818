"""What it means that an image was kept: bytes in the bucket under the documented key, an entry."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from pydicom import Dataset, dcmread

from harness import scu
from harness.instances import data_set_in, made_instances
from harness.modalities import Peer
from harness.provisioning import Space


def key_of(path: Path) -> str:
    """Return an instance's key by the rule in docs/architecture.md."""
    digest = hashlib.sha256(data_set_in(path.read_bytes())).hexdigest()
    meta = dcmread(path, stop_before_pixels=True).file_meta
    syntax, uid = meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID
    return f"instances/{digest[:2]}/{digest}-{syntax}/{uid}.dcm"


def sop_instance_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def assert_stored(space: Space, files: Iterable[Path]) -> None:
    """Assert that each is in the space's bucket byte for byte, and in the catalogue."""
    keys, catalogued_uids = space.instances(), space.catalogued_uids()
    for path in files:
        assert key_of(path) in keys, path
        stored = data_set_in(space.read(key_of(path)))
        assert stored == data_set_in(path.read_bytes()), path
        assert sop_instance_uid(path) in catalogued_uids, path


def assert_stored_once(space: Space, files: Iterable[Path]) -> None:
    """Assert that each is stored, and no second object has its SOP Instance UID."""
    files = list(files)
    assert_stored(space, files)
    names = [key.rpartition("/")[2].removesuffix(".dcm") for key in space.instances()]
    uids = {sop_instance_uid(path) for path in files}
    assert sorted(name for name in names if name in uids) == sorted(uids)


def waiting(metrics: str) -> int:
    """Return how many data sets a proxy has answered and not forwarded yet; -1 without metrics."""
    lines = [line for line in metrics.splitlines() if line.startswith("dimse_outbox_waiting ")]
    return int(float(lines[0].split()[1])) if lines else -1


def assert_stores(space: Space, peer: Peer, folder: Path) -> Path:
    """Store an image made now, check the success and the stored object, and return its file."""
    (made,) = made_instances(folder / uuid4().hex, 1, 2**16)
    (answer,) = scu.store(peer, [made.path])
    assert answer.status == 0, answer
    assert_stored(space, [made.path])
    return made.path


def study(path: Path) -> Dataset:
    """Return the identifier that asks for an image's study."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = dcmread(path, stop_before_pixels=True).StudyInstanceUID
    identifier.PatientID = ""
    return identifier
