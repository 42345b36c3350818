"""Summaries of matches: their number, and a digest of the objects of instances.

Both cost a fraction of the matches themselves, because few or no elements are decoded. Matches are
in `query`.
"""

import hashlib
from threading import Event

from sqlalchemy import Engine

from dimse_ingestion.catalogue.database import database_errors, read_connection
from dimse_ingestion.catalogue.sql_statements import RowSelection
from dimse_ingestion.dicom.criteria import criteria
from dimse_ingestion.queries.contract import ObjectsDigest, Query


def digest_objects(engine: Engine, query: Query, source: str, timeout: float) -> ObjectsDigest:
    """Return the digest of the instances that a query by UIDs names.

    Blocks. Raises ValueError for other keys, and Failure as `query.pages`.
    """
    selection = RowSelection("IMAGE", source, criteria(query.keys))
    if not selection.is_exact:
        raise ValueError("A digest is of instances that UIDs name, and of a few UIDs only.")
    with database_errors(), read_connection(engine, timeout, Event()) as connection:
        rows = selection.ranks().tuples(connection)
    lines = "".join(f"{rank} {sha256} {syntax}\n" for rank, sha256, syntax in rows)
    return ObjectsDigest(len(rows), hashlib.sha256(lines.encode()).hexdigest())
