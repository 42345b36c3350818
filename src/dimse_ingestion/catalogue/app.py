"""The catalogue's door: events in and queries out over HTTP, beside the probes.

Joins database, commits and answers; each of them is told in its own module.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.following import FollowingDatabase
from dimse_ingestion.catalogue.serving import Door
from dimse_ingestion.observability import logging, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.serving import served
from dimse_ingestion.observability.stopping import stop_signal
from dimse_ingestion.settings import CatalogueSettings, ConfigurationMistake

_LOG = logger(__name__)


async def run(settings: CatalogueSettings) -> int:
    """Serve until told to stop; the exit status."""
    logging.configure("catalogue", settings.log_level)
    tracing.configure("catalogue", settings.otlp_endpoint)
    with stop_signal() as told:
        async with opened(settings):
            await told.wait()
    tracing.shut_down()
    return 0


def migrate(settings: CatalogueSettings) -> int:
    """Bring the schema up to date and end; the exit status."""
    logging.configure("catalogue", settings.log_level)
    following = _following(settings)
    done = following.look()
    following.close()
    return 0 if done else 1


@asynccontextmanager
async def opened(settings: CatalogueSettings) -> AsyncIterator[int]:
    """The catalogue, serving within the block, whose value is its HTTP port.

    At the block's end, what was taken is committed and answered first. Raises ConfigurationMistake
    when the database's URL (unless it is mounted) or the HTTP address can't be used.
    """
    following = _following(settings)
    address = f"{settings.http_host}:{settings.http_port}"
    try:
        async with (
            _at_work(Door(following, settings)) as door,
            served(door.app, settings.http_host, settings.http_port) as port,
        ):
            _LOG.info("Listening for events and queries.", port=port)
            try:
                yield port
            finally:
                door.health.drain()
    except OSError as trouble:
        raise ConfigurationMistake(
            [f"DIMSE_HTTP_PORT: {address} can't be used: {trouble.strerror}."]
        ) from None
    finally:
        following.close()


@asynccontextmanager
async def _at_work(door: Door) -> AsyncIterator[Door]:
    """The door with its database followed and its commits running; they end after the block."""
    tasks = [
        asyncio.create_task(each) for each in (door.follow(), door.commit(), door.health.watch())
    ]
    try:
        yield door
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        door.close()


def _following(settings: CatalogueSettings) -> FollowingDatabase:
    if not settings.database_is_mounted:
        _check_url(settings.database_url.get_secret_value())
    return FollowingDatabase(settings.read_database_url, settings.maximum_connections)


def _check_url(url: str) -> None:
    try:
        open_engine(url).dispose()
    except ValueError as wrong:
        raise ConfigurationMistake([str(wrong)]) from None
