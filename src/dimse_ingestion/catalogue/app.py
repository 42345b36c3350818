"""The catalogue's door: events in and queries out over HTTP, beside the probes.

Joins database, commits and answers; each of them is told in its own module.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dimse_ingestion.catalogue.database import open_engine
from dimse_ingestion.catalogue.http_api import HttpApi
from dimse_ingestion.catalogue.rotating import RotatingDatabase
from dimse_ingestion.observability import logging
from dimse_ingestion.observability.http_server import serve
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.process import run_service
from dimse_ingestion.observability.series import start_series
from dimse_ingestion.secure_http.server_certificate import ServerCertificate
from dimse_ingestion.settings import CatalogueSettings, ConfigurationMistake

_LOG = logger(__name__)
_BETWEEN_LOOKS = 5.0  # seconds until a renewed certificate is seen


async def run(settings: CatalogueSettings) -> int:
    """Run the service until a signal to stop; return the exit status.

    Raises ConfigurationMistake when it can't start.
    """
    return await run_service("catalogue", settings, running(settings))


def migrate(settings: CatalogueSettings) -> int:
    """Bring the schema up to date and end; the exit status."""
    logging.configure("catalogue", settings.log_level)
    following = _following(settings)
    done = following.look()
    following.close()
    return 0 if done else 1


@asynccontextmanager
async def running(settings: CatalogueSettings) -> AsyncIterator[int]:
    """The catalogue, serving within the block, whose value is the port of events and queries.

    At the block's end, what was taken is committed and answered first. Raises ConfigurationMistake
    when the database's URL (unless it is mounted) or the HTTP address can't be used, or when events
    and queries would be exposed without authentication.
    """
    settings.refuse_exposed()
    start_series("catalogue")
    following = _following(settings)
    try:
        async with (
            _at_work(HttpApi(following, settings)) as door,
            _serving(door, settings) as port,
        ):
            try:
                yield port
            finally:
                door.health.drain()
    finally:
        following.close()


@asynccontextmanager
async def _serving(door: HttpApi, settings: CatalogueSettings) -> AsyncIterator[int]:
    """Serve everything at one port, or events and queries at one of their own with TLS."""
    host, http_port = settings.http_host, settings.http_port
    certificate, key = settings.certificate_path, settings.key_path
    if certificate is None or key is None:
        async with serve(door.api, host, http_port, setting="DIMSE_HTTP_PORT") as port:
            _LOG.info("Listening for events and queries without TLS.", port=port)
            yield port
        return
    async with (
        _certificate(door, settings, certificate, key) as following,
        serve(door.probes, host, http_port, setting="DIMSE_HTTP_PORT") as probes,
        serve(
            door.api,
            host,
            settings.catalogue_port,
            tls=following.context,
            setting="DIMSE_CATALOGUE_PORT",
        ) as port,
    ):
        _LOG.info("Listening for events and queries with TLS.", port=port, probes=probes)
        yield port


@asynccontextmanager
async def _certificate(
    door: HttpApi, settings: CatalogueSettings, certificate: Path, key: Path
) -> AsyncIterator[ServerCertificate]:
    """The certificate, read again within the block; its trouble makes the catalogue not ready."""
    following = ServerCertificate(certificate, key, "catalogue", settings.secret_name)
    door.health.add("certificate", lambda: following.problem)
    following.reload()
    looking = asyncio.create_task(_look(following), name="watch of the certificate")
    try:
        yield following
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def _look(following: ServerCertificate) -> None:
    while True:
        await asyncio.sleep(_BETWEEN_LOOKS)
        await asyncio.to_thread(following.reload)


@asynccontextmanager
async def _at_work(door: HttpApi) -> AsyncIterator[HttpApi]:
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


def _following(settings: CatalogueSettings) -> RotatingDatabase:
    if not settings.database_is_mounted:
        _check_url(settings.database_url.get_secret_value())
    return RotatingDatabase(settings.read_database_url, settings.maximum_connections)


def _check_url(url: str) -> None:
    try:
        open_engine(url).dispose()
    except ValueError as wrong:
        raise ConfigurationMistake([str(wrong)]) from None
