"""Detection of SOP Instance UIDs that are stored already with other content.

PS3.3 C.12.1.1.1 forbids such UIDs, but all contents are stored, and the duplicates policy of the
catalogue decides which one is given. The client only gets a warning: no instance is refused, and
none waits long for the check. UIDs that arrive during a query are collected for the next query.
"""

import asyncio
from collections.abc import Iterable, Mapping

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import by_tag, element
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.failures import Failure
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.queries.contract import Located, Query, QueryClient

_LOG = logger(__name__)
_LONGEST = 5.0  # seconds, while the instance itself is on its way to the bucket
_UID = UNIQUE_KEYS["IMAGE"]


class UidConflicts:
    """Compares the digests of instances with those in the catalogue."""

    def __init__(self, queries: QueryClient) -> None:
        self._queries = queries
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._querying: asyncio.Task[None] | None = None

    async def is_conflicting(self, instance: Instance) -> bool:
        """Return whether the catalogue has other content for the UID; False if it fails."""
        if not uids.is_valid(instance.sop_instance_uid):
            return False  # `operations.store` refuses it
        new = asyncio.get_running_loop().create_future()
        digest = self._waiting.setdefault(instance.sop_instance_uid, new)
        if self._querying is None:
            self._querying = asyncio.create_task(self._query_all(), name="check UIDs of instances")
        return await asyncio.shield(digest) not in ("", instance.sha256)

    async def _query_all(self) -> None:
        """Query the catalogue until no UID waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            known: Mapping[str, str] = {}
            try:
                async with asyncio.timeout(_LONGEST):
                    known = await self._digests(batch)
            except (Failure, TimeoutError) as error:
                _LOG.info("The catalogue could not be queried for known UIDs.", reason=str(error))
            except Exception:  # noqa: BLE001 - a mere warning must not block a store
                _LOG.exception("An internal error prevented the check for known UIDs.")
            for uid, digest in batch.items():
                digest.set_result(known.get(uid, ""))
        self._querying = None

    async def _digests(self, sop_instance_uids: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of the stored data sets by UID, without UIDs that are not stored."""
        key = element(_UID, "UI", "\\".join(sop_instance_uids))
        objects = self._queries.objects(Query(scope="IMAGE", keys=[key], locations_only=True))
        return {_uid_of(each): each.sha256 async for each in objects}


def _uid_of(located: Located) -> str:
    return uids.strip_padding(by_tag(located.elements)[_UID].value)
