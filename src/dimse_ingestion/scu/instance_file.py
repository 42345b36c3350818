"""A Part-10 file with one instance, as a modality sends it: its header and its data set."""

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
        """The elements before the pixel data."""
        return dcmread(self.path, stop_before_pixels=True)

    @property
    def transfer_syntax(self) -> UID:
        """The transfer syntax in the file meta information."""
        return self.header.file_meta.TransferSyntaxUID

    @cached_property
    def data_set(self) -> bytes:
        """The bytes after the file meta information, which a C-STORE transfers."""
        return self.path.read_bytes()[data_set_offset(self.path) :]

    @cached_property
    def sha256(self) -> str:
        """The data set's SHA-256 in hexadecimal."""
        return hashlib.sha256(self.data_set).hexdigest()


def data_set_offset(path: Path) -> int:
    """Return the data set's offset in bytes in a Part-10 file (PS3.10 section 7.1)."""
    head = path.open("rb").read(144)
    return 144 + int.from_bytes(head[140:144], "little")
