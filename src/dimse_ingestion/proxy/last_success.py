"""When each modality's last C-STORE succeeded, as metrics, and when it counts as silent.

Only AE titles of the settings are label values: any other title is text from the network, of which
there is no end. The alert compares the time with `dimse_proxy_silent_after_timestamp_seconds`, so
that a proxy which has just started gives each modality its whole interval.
"""

import math
import time
from collections.abc import Iterable
from contextlib import suppress

from dimse_ingestion.observability import metrics
from dimse_ingestion.settings.modalities import Modality

OTHER = "other"


class LastSuccess:
    """Set the metrics of the configured modalities."""

    def __init__(self, modalities: Iterable[Modality]) -> None:
        self._expected_every: dict[str, float | None] = {}
        self.configure(modalities)

    def configure(self, modalities: Iterable[Modality]) -> None:
        """Replace the modalities; one whose interval is new or changed has it from now on."""
        before = set(self._expected_every.items())
        self._expected_every = {each.ae_title: each.expected_every for each in modalities}
        for title, _ in before - set(self._expected_every.items()):
            _remove(title)
        for title, _ in set(self._expected_every.items()) - before:
            self._expect(title)

    def record(self, calling_ae_title: str) -> None:
        """Record that a C-STORE of this AE was answered with success."""
        is_known = calling_ae_title in self._expected_every
        title = calling_ae_title if is_known else OTHER
        metrics.proxy_last_success.labels(title).set_to_current_time()
        if is_known:
            self._expect(title)

    def _expect(self, title: str) -> None:
        every = self._expected_every[title]
        if every is not None:
            metrics.proxy_silent_after.labels(title).set(time.time() + every)


def _remove(title: str) -> None:
    """Remove a title's series; the files of several workers keep it, but it is never late."""
    metrics.proxy_silent_after.labels(title).set(math.inf)
    for metric in (metrics.proxy_last_success, metrics.proxy_silent_after):
        with suppress(KeyError):
            metric.remove(title)
