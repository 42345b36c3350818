"""Comparison of a bucket's objects with the catalogue, a page of the listing at a time.

An index finds each name, so that a whole archive is compared in minutes; no element is read. The
command `reindex` records the objects without an entry.
"""

from collections.abc import Sequence

from sqlalchemy import Engine, bindparam, select

from dimse_ingestion.catalogue.database import database_errors
from dimse_ingestion.catalogue.tables import objects
from dimse_ingestion.observability import metrics

_KNOWN = select(objects.c.object_name).where(
    objects.c.object_name.in_(bindparam("names", expanding=True)),
    objects.c.bucket_name == bindparam("bucket"),
    objects.c.source == bindparam("source"),
)


def missing(engine: Engine, source: str, bucket_name: str, names: Sequence[str]) -> list[str]:
    """Return those of the names, in their order, that have no entry in the storage space.

    Raises Unavailable when the database fails.
    """
    parameters = {"names": list(names), "bucket": bucket_name, "source": source}
    with database_errors(), engine.connect() as connection:
        known = set(connection.execute(_KNOWN, parameters).scalars())
    without = [each for each in names if each not in known]
    metrics.catalogue_compared.labels("known").inc(len(names) - len(without))
    metrics.catalogue_compared.labels("missing").inc(len(without))
    return without
