"""A Part-10 file with one instance, as a modality sends it: header, and the bytes that travel."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydicom import FileDataset, dcmread
from pydicom.uid import UID


@dataclass(frozen=True)
class InstanceFile:
    """One file with one storable instance."""

    path: Path

    @cached_property
    def header(self) -> FileDataset:
        """Everything before the pixels."""
        return dcmread(self.path, stop_before_pixels=True)

    @property
    def transfer_syntax(self) -> UID:
        """As the file meta information says."""
        return self.header.file_meta.TransferSyntaxUID

    @cached_property
    def data_set(self) -> bytes:
        """The bytes after the file meta information: what travels in a C-STORE."""
        return self.path.read_bytes()[data_set_offset(self.path) :]

    @cached_property
    def sha256(self) -> str:
        """Digest of the data set, in hexadecimal."""
        return hashlib.sha256(self.data_set).hexdigest()


def data_set_offset(path: Path) -> int:
    """Where the data set begins in a Part-10 file (PS3.10 section 7.1), in bytes."""
    head = path.open("rb").read(144)
    return 144 + int.from_bytes(head[140:144], "little")
