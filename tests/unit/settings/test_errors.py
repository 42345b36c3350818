import errno
import os
import socket

import pytest

from dimse_ingestion.settings.errors import address_mistake, directory_mistake


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EADDRINUSE, "it is in use by another process: stop that, or give another port."),
        (errno.EADDRNOTAVAIL, "this host does not have the address"),
        (errno.EACCES, "ports below 1024 need CAP_NET_BIND_SERVICE"),
        (socket.EAI_NONAME, "the name is not known"),
        (errno.EIO, "Input/output error."),
    ],
)
def test_an_address_is_reported_with_its_cure(number: int, cure: str) -> None:
    error = OSError(number, os.strerror(number))
    (sentence,) = address_mistake("DIMSE_PORT", "host:104", error).sentences
    assert sentence.startswith("DIMSE_PORT: host:104 can't be used: ")
    assert cure in sentence


def test_a_folder_is_reported_with_its_cure() -> None:
    error = OSError(errno.EROFS, "Read-only file system")
    (sentence,) = directory_mistake("DIMSE_SPOOL_DIRECTORY", "/spool", error).sentences
    assert sentence.startswith("DIMSE_SPOOL_DIRECTORY: /spool can't be used: Read-only file system")


def test_a_file_in_the_place_of_a_folder_is_named() -> None:
    error = OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    (sentence,) = directory_mistake("--data", "/etc/passwd", error).sentences
    assert sentence.startswith("--data: /etc/passwd can't be used: it is no folder: give")
