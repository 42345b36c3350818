"""The catalogue's database by a mounted URL: opened, migrated, and replaced when the URL changes.

The URL may be missing at first, and may change while the catalogue runs (a rotated password). The
last database stays in use until the new one is reached and has this release's schema.
"""

from collections.abc import Callable

from sqlalchemy import Engine

from dimse_ingestion.catalogue import migrate
from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.failures import Failure, Unavailable
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import MountedMissing

_LOG = logger(__name__)


class RotatingDatabase:
    """The database of the URL that `read` returns; `read` raises MountedMissing.

    `refresh` may take long and belongs in a thread; the rest may be called from any thread.
    """

    def __init__(self, read: Callable[[], str], connections: int) -> None:
        self.problem = "The database was not reached yet."
        """A sentence that says why there is no database to use; empty once there is one."""
        self._read = read
        self._connections = connections
        self._url = ""
        self._engine: Engine | None = None
        self._logged = ""

    @property
    def engine(self) -> Engine:
        """Return the database in use. Raises Unavailable while there is none."""
        if self._engine is None:
            raise Unavailable(self.problem)
        return self._engine

    def refresh(self) -> bool:
        """Use the database of the mounted URL; return whether it is in use. Never raises."""
        try:
            self._use(self._read())
        except Failure as failure:
            return self._keep_last(failure.comment)
        except (MountedMissing, ValueError) as wrong:
            return self._keep_last(str(wrong))
        except Exception as mistake:  # noqa: BLE001 - the task that refreshes must not end
            return self._keep_last(f"The database failed ({type(mistake).__name__}).")
        self.problem = self._logged = ""
        return True

    def close(self) -> None:
        """Close idle connections."""
        if self._engine is not None:
            self._engine.dispose()

    def _use(self, url: str) -> None:
        if url == self._url:
            return
        engine = open_engine(url, self._connections)
        try:
            migrate.upgrade(engine)
        except BaseException:
            engine.dispose()
            raise
        self.close()
        self._engine, self._url = engine, url
        _LOG.info("The database has the schema of this release.", kind=engine.dialect.name)

    def _keep_last(self, reason: str) -> bool:
        if self._engine is None:
            self.problem = reason
        if reason != self._logged:
            _LOG.warning(
                "The database can't be used yet."
                if self.problem
                else "The new database can't be used: the last one stays in use.",
                reason=reason,
            )
        self._logged = reason
        return False
