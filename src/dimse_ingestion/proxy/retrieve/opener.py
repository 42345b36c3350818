"""The fetches of one retrieve: what is requested of the transport for its instances."""

from collections.abc import Sequence

from dimse_ingestion.proxy.operation_ids import new_operation_id
from dimse_ingestion.proxy.retrieve.prefetch import Planned
from dimse_ingestion.transport.contract import FetchStream, TransportClient
from dimse_ingestion.transport.protocol.messages import FetchObject, FetchOpen, Origin


class FetchOpener:
    """A `StreamOpener` over the transport; `origin` is that of the C-MOVE or C-GET."""

    def __init__(self, client: TransportClient, origin: Origin) -> None:
        self._client = client
        self._origin = origin

    def open(self, planned: Planned, window: int) -> FetchStream:
        """Open the stream of a data set, with a window in bytes."""
        return self._client.fetch(self._request(planned), stored=planned.is_stored, window=window)

    def open_batch(self, batch: Sequence[Planned]) -> Sequence[FetchStream]:
        """Open the streams of several short data sets, which are sent as they are stored."""
        instances = [each.instance for each in batch[1:]]
        more = tuple(FetchObject(each.key, each.size, each.sha256) for each in instances)
        return self._client.fetch_batch(self._request(batch[0], more))

    def _request(self, planned: Planned, more: tuple[FetchObject, ...] = ()) -> FetchOpen:
        instance = planned.instance
        return FetchOpen(
            operation_id=new_operation_id(),
            key=instance.key,
            size=instance.size,
            sha256=instance.sha256,
            transfer_syntax_uid=planned.transfer_syntax_uid,
            origin=self._origin,
            more=more,
        )
