"""`python -m harness.dicom_tables`: the product's tables of attributes and UIDs, from pydicom's.

The product reads these tables where it would otherwise import the whole of pydicom. A test holds
them against the installed pydicom, so that an upgrade of it brings its newer edition of PS3.6.
"""

from collections.abc import Iterable
from pathlib import Path
from runpy import run_path
from typing import Any

import pydicom

TABLES = Path(__file__).parent.parent / "src" / "dimse_ingestion" / "dicom" / "tables"


def of_pydicom(module: str, name: str) -> dict[Any, Any]:
    """Return a table of pydicom as it is written; other packages add to the imported one."""
    table = run_path(str(Path(pydicom.__file__).parent / module))[name]
    assert isinstance(table, dict)
    return table


def tables() -> dict[str, str]:
    """Return the content of each table by its file's name: a line for each row, tabs between."""
    attributes = of_pydicom("_dicom_dict.py", "DicomDictionary")
    repeated = of_pydicom("_dicom_dict.py", "RepeatersDictionary")
    uids = of_pydicom("_uid_dict.py", "UID_dictionary")
    rows = {f"{tag:08X}": each for tag, each in attributes.items()}
    rows |= {tag.upper().replace("X", "x"): each for tag, each in repeated.items()}
    return {
        "attributes.tsv": _text((tag, each[0], each[4]) for tag, each in rows.items()),
        "uids.tsv": _text((uid, each[1], each[0]) for uid, each in uids.items()),
    }


def _text(rows: Iterable[tuple[str, str, str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def main() -> None:
    """Write the tables."""
    for name, content in tables().items():
        (TABLES / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
