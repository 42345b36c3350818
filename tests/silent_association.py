"""A base for associations in tests: one on which no request is sent to the peer."""

from collections.abc import Mapping

from dimse_ingestion.upper_layer.services import (
    Command,
    DataSetSource,
    PresentationContext,
    Response,
)


class SilentAssociation:
    """Has no presentation contexts, and fails a test that sends a request to the peer."""

    aborted: str = ""

    @property
    def contexts(self) -> Mapping[int, PresentationContext]:
        return {}

    async def invoke(
        self, context: PresentationContext, command: Command, data_set: DataSetSource | None = None
    ) -> Response:
        raise AssertionError(f"{command} in {context}")
