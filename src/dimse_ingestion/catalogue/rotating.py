"""The catalogue's database, as what is mounted tells it: opened, migrated, and opened anew.

The URL may be missing at first, and may change while the catalogue runs (a rotated password). The
last database stays in use until the new one was reached and has this release's schema.
"""

from collections.abc import Callable

from sqlalchemy import Engine

from dimse_ingestion.catalogue import migrate
from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.dicom.failure import DimseFailure, OutOfResources
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import MountedMissing

_LOG = logger(__name__)


class RotatingDatabase:
    """The database whose URL `read` gives now; `read` raises MountedMissing when there is none.

    `look` may take long and belongs in a thread; the rest may be asked from any.
    """

    def __init__(self, read: Callable[[], str], connections: int) -> None:
        self.trouble = "The database was not reached yet."
        """Why there is no database to use; empty once there is one."""
        self._read = read
        self._connections = connections
        self._url = ""
        self._engine: Engine | None = None
        self._told = ""

    @property
    def engine(self) -> Engine:
        """The database in use. Raises transient A700 while there is none."""
        if self._engine is None:
            raise OutOfResources(self.trouble)
        return self._engine

    def look(self) -> bool:
        """Whether what is mounted is in use, which it is made to be if it can be. Never raises."""
        try:
            self._take_up(self._read())
        except DimseFailure as failure:
            return self._not_taken_up(failure.comment)
        except (MountedMissing, ValueError) as wrong:
            return self._not_taken_up(str(wrong))
        except Exception as mistake:  # noqa: BLE001 - looking must go on
            return self._not_taken_up(f"The database failed ({type(mistake).__name__}).")
        self.trouble = self._told = ""
        return True

    def close(self) -> None:
        """Let go of connections that nobody uses."""
        if self._engine is not None:
            self._engine.dispose()

    def _take_up(self, url: str) -> None:
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

    def _not_taken_up(self, why: str) -> bool:
        if self._engine is None:
            self.trouble = why
        if why != self._told:
            _LOG.warning(
                "The database can't be used yet." if self.trouble else "The last one stays in use.",
                why=why,
            )
        self._told = why
        return False
