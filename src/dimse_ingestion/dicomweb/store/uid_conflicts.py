"""Whether a SOP Instance UID is known already, with other content (PS3.3 C.12.1.1.1 forbids it).

All are kept, and the catalogue's policy says which one answers; who sends another is told, as far
as the catalogue can say. Nothing is refused for it and nothing waits long for it: UIDs that come
while the catalogue is being asked are asked together afterwards.
"""

import asyncio
from collections.abc import Iterable, Mapping

from dimse_ingestion.dicom import uids
from dimse_ingestion.dicom.elements import by_tag, element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.query_levels import UNIQUE_KEYS
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.queries.contract import Located, Query, QueryClient

_LOG = logger(__name__)
_LONGEST = 5.0  # seconds, while the instance itself is on its way to the bucket
_UID = UNIQUE_KEYS["IMAGE"]


class UidConflicts:
    """Likens instances to what the catalogue answers for their UIDs."""

    def __init__(self, queries: QueryClient) -> None:
        self._queries = queries
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def is_conflicting(self, instance: Instance) -> bool:
        """Whether another content answers for its UID; no where the catalogue can't say."""
        if not uids.is_valid(instance.sop_instance_uid):
            return False  # it is refused anyway
        new = asyncio.get_running_loop().create_future()
        digest = self._waiting.setdefault(instance.sop_instance_uid, new)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="liken instances")
        return await asyncio.shield(digest) not in ("", instance.sha256)

    async def _ask(self) -> None:
        """Ask until nobody waits."""
        while self._waiting:
            asked, self._waiting = self._waiting, {}
            found: Mapping[str, str] = {}
            try:
                async with asyncio.timeout(_LONGEST):
                    found = await self._digests(asked)
            except (DimseFailure, TimeoutError) as trouble:
                _LOG.info("The catalogue can't say what it knows of instances.", why=str(trouble))
            except Exception:  # noqa: BLE001 - what is only told must not keep anything waiting
                _LOG.exception("A mistake of ours kept instances from being likened.")
            for uid, digest in asked.items():
                digest.set_result(found.get(uid, ""))
        self._asking = None

    async def _digests(self, asked: Iterable[str]) -> Mapping[str, str]:
        """Of the data sets that answer for the UIDs, those that are known."""
        key = element(_UID, "UI", "\\".join(asked))
        found = self._queries.objects(Query(scope="IMAGE", keys=[key]))
        return {_uid_of(each): each.sha256 async for each in found}


def _uid_of(located: Located) -> str:
    return uids.strip_padding(by_tag(located.elements)[_UID].value)
