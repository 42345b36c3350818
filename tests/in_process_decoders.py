"""Decoders that work in the process of the test, so that many images are quick."""

from collections.abc import Sequence
from pathlib import Path

from dimse_ingestion.pixels import decoder
from dimse_ingestion.pixels.decoder_pool import DecoderPool
from dimse_ingestion.pixels.failures import Undecodable
from dimse_ingestion.pixels.jobs import DecodedPixels, DecodeJob, FrameRanges


class InProcessDecoders(DecoderPool):
    """Decodes in this process."""

    def __init__(self) -> None:
        super().__init__(1)

    async def decode_frames(
        self, source: Path, target: Path, frames: Sequence[FrameRanges], template: DecodeJob
    ) -> DecodedPixels:
        try:
            return decoder.decode_frames(source, target, frames, template)
        except ValueError as undecodable:
            raise Undecodable(str(undecodable)) from None
