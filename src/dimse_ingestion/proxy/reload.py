"""Reload of the proxy's settings, by SIGHUP or when a file has changed, without a restart.

Peers, allow-lists, storage spaces and certificates change for new associations; open ones go on.
Settings that can't be used change nothing: the old ones stay, and the log has the sentences. Other
settings need a restart, and the log names those that differ.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from dimse_ingestion.background_tasks import background_tasks
from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import ConfigurationMistake, ProxySettings

_LOG = logger(__name__)
_INTERVAL = 5.0  # seconds between looks at the files
Prepare = Callable[[ProxySettings], Callable[[], None]]
"""Loads the certificates of settings and returns the function that begins to use them."""


class Reloader:
    """Reload the settings of a running proxy, whose spaces `change` changes."""

    def __init__(
        self,
        settings: ProxySettings,
        change: Callable[[ProxySettings], Awaitable[None]],
        prepare_certificates: Prepare,
        interval: float = _INTERVAL,
    ) -> None:
        self._settings = settings
        self._change = change
        self._prepare_certificates = prepare_certificates
        self._interval = interval
        self._requested = asyncio.Event()
        self._seen = _fingerprints(settings.reloadable_files)
        metrics.proxy_last_reload_successful.set(1)
        metrics.proxy_last_reload.set_to_current_time()

    def request(self) -> None:
        """Reload as soon as possible."""
        self._requested.set()

    async def watch(self) -> None:
        """Reload on request, and when a file has changed, until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._requested.wait(), self._interval)
            seen = await asyncio.to_thread(_fingerprints, self._settings.reloadable_files)
            if self._requested.is_set() or seen != self._seen:
                self._requested.clear()
                self._seen = seen
                await self.reload()

    async def reload(self) -> bool:
        """Use the settings as they are now; return False, and change nothing, if they are wrong."""
        try:
            settings = await asyncio.to_thread(self._settings.reload)
            use_certificates = self._prepare_certificates(settings)
            changed, fixed = self._settings.differences(settings)
            await self._change(settings)
        except ConfigurationMistake as mistake:
            return _failed("; ".join(mistake.sentences))
        except Exception as mistake:  # noqa: BLE001 - the proxy goes on with its old settings
            _LOG.exception("A reload failed because of an error in this software.")
            return _failed(type(mistake).__name__)
        use_certificates()
        metrics.proxy_last_reload_successful.set(1)
        metrics.proxy_last_reload.set_to_current_time()
        _LOG.info("The settings are reloaded.", changed=changed)
        if fixed:
            _LOG.warning("Changed settings need a restart of the proxy.", settings=fixed)
        return True


def _failed(reason: str) -> bool:
    metrics.proxy_last_reload_successful.set(0)
    _LOG.error("The settings can't be reloaded: the old ones stay in use.", reason=reason)
    return False


@asynccontextmanager
async def reloading(reloader: Reloader) -> AsyncIterator[None]:
    """Reload at SIGHUP, and when a file has changed, within the block."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reloader.request)
    try:
        async with background_tasks(reloader.watch(), name="reload of settings"):
            yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _fingerprints(files: Iterable[Path]) -> dict[Path, tuple[int, ...]]:
    """Return what changes with a file's content, also if it is replaced; nothing if it is gone."""
    seen: dict[Path, tuple[int, ...]] = {}
    for file in files:
        with suppress(OSError):
            status = file.stat()
            seen[file] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return seen
