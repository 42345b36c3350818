"""The instances of a C-MOVE or C-GET (PS3.4 C.4.2 and C.4.3), from the catalogue.

`dicom.retrieve_keys` reads the identifier, and the catalogue decides what matches. The data sets
are read one by one (see `fetch`).
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from dimse_ingestion.dicom import limits
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.retrieve_keys import RetrieveKeys, parse_retrieve
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.failures import LimitExceeded
from dimse_ingestion.operations.scan_pacing import ScanPacing
from dimse_ingestion.queries.contract import Located, Query, QueryClient

MAXIMUM_INSTANCES = 65_535
"""The most instances of a retrieve: responses count them in elements of VR US."""


class InstanceLister:
    """Lists the instances that retrieves of one storage space name."""

    def __init__(self, queries: QueryClient, pacing: ScanPacing | None = None) -> None:
        self._queries = queries
        self._pacing = pacing or ScanPacing()

    async def parse(
        self, identifier: bytes, sop_class_uid: str, transfer_syntax_uid: str, *, relational: bool
    ) -> RetrieveKeys:
        """Return the keys of an identifier.

        Raises DimseFailure: C001 for an identifier that can't be read, A900 for one that its SOP
        class does not allow.
        """
        scanner = Scanner(transfer_syntax_uid, limits.IDENTIFIER)
        try:
            with self._pacing.share() as share:
                await share.feed(scanner, identifier)
                elements = scanner.finish()
        except DimseFailure as failure:
            raise DimseFailure(
                Status.UNABLE_TO_PROCESS, f"Identifier unreadable: {failure.comment}"
            ) from failure
        return parse_retrieve(elements, sop_class_uid, relational=relational)

    async def instances(
        self, keys: RetrieveKeys, maximum: int
    ) -> AsyncGenerator[tuple[str, str, Located], None]:
        """Yield SOP class UID, SOP instance UID and place of each instance.

        Raises LimitExceeded when there are more than `maximum`, and Failure as the catalogue's
        client does.
        """
        maximum = min(maximum, MAXIMUM_INSTANCES)
        query = Query(scope="IMAGE", keys=keys.keys, limit=maximum + 1, locations_only=True)
        count = 0
        async with aclosing(self._queries.objects(query)) as objects:
            async for located in objects:
                count += 1
                if count > maximum:
                    raise LimitExceeded(f"More than {maximum} instances: retrieve fewer at once.")
                elements = by_tag(located.elements)
                yield elements[SOP_CLASS_UID].value, elements[SOP_INSTANCE_UID].value, located
