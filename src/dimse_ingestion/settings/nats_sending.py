"""Settings of how the proxy sends data sets to NATS: how fast, and whether compressed."""

import time

from pydantic import Field

from dimse_ingestion.settings.nats import NatsSettings
from dimse_ingestion.settings.rate_limit import NatsRateLimit, RateLimit, TimeZone
from dimse_ingestion.settings.types import Compression


class NatsSendingSettings(NatsSettings):
    """Settings of a connection that data sets are sent over."""

    nats_rate_limit: NatsRateLimit = Field(
        default=RateLimit(), validation_alias="DIMSE_NATS_RATE_LIMIT"
    )
    """The most bytes of data sets a second, by hours; without an entry, there is no limit."""
    nats_rate_limit_time_zone: TimeZone = Field(
        default="UTC", validation_alias="DIMSE_NATS_RATE_LIMIT_TIME_ZONE"
    )
    """The IANA time zone of the hours in `nats_rate_limit`."""

    nats_compression: Compression = Field(default="off", validation_alias="DIMSE_NATS_COMPRESSION")
    """`zstd` compresses data sets in native transfer syntaxes, where the service offers it."""

    def nats_rate(self, when: float | None = None) -> int | None:
        """Return the limit at a Unix time, now by default, in bytes per second; None if none."""
        now = time.time() if when is None else when
        return self.nats_rate_limit.rate_at(now, self.nats_rate_limit_time_zone)
