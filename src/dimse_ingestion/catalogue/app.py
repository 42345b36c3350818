"""The catalogue service: events and queries over HTTP, and the probes.

Composes database, group commit and HTTP API, each of which has a module of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dimse_ingestion.background_tasks import background_tasks
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
_RELOAD_INTERVAL = 5.0  # seconds until a renewed certificate is seen


async def run(settings: CatalogueSettings) -> int:
    """Run the service until a signal to stop; return the exit status.

    Raises ConfigurationMistake when it can't start.
    """
    return await run_service("catalogue", settings, running(settings))


def migrate(settings: CatalogueSettings) -> int:
    """Bring the schema up to date; return the exit status."""
    logging.configure("catalogue", settings.log_level)
    database = _rotating_database(settings)
    succeeded = database.refresh()
    database.close()
    return 0 if succeeded else 1


@asynccontextmanager
async def running(settings: CatalogueSettings) -> AsyncIterator[int]:
    """Serve within the block, whose value is the port of events and queries.

    At the block's end, events that have arrived are committed and answered first. Raises
    ConfigurationMistake when the database's URL (unless it is mounted) or the HTTP address can't be
    used, or when events and queries would be exposed without authentication.
    """
    settings.refuse_exposed()
    start_series("catalogue")
    database = _rotating_database(settings)
    try:
        async with (
            _api_tasks(HttpApi(database, settings)) as api,
            _listen(api, settings) as port,
        ):
            try:
                yield port
            finally:
                api.health.drain()
    finally:
        database.close()


@asynccontextmanager
async def _listen(api: HttpApi, settings: CatalogueSettings) -> AsyncIterator[int]:
    """Serve all at one port, or events and queries at a port of their own with TLS."""
    host, http_port = settings.http_host, settings.http_port
    certificate, key = settings.certificate_path, settings.key_path
    if certificate is None or key is None:
        async with serve(
            api.app, host, http_port, setting="DIMSE_HTTP_PORT", short_requests=api.events
        ) as port:
            _LOG.info("Listening for events and queries without TLS.", port=port)
            yield port
        return
    async with (
        _reloaded_certificate(api, settings, certificate, key) as server_certificate,
        serve(api.probes, host, http_port, setting="DIMSE_HTTP_PORT") as probes,
        serve(
            api.app,
            host,
            settings.catalogue_port,
            tls=server_certificate.context,
            setting="DIMSE_CATALOGUE_PORT",
            short_requests=api.events,
        ) as port,
    ):
        _LOG.info("Listening for events and queries with TLS.", port=port, probes=probes)
        yield port


@asynccontextmanager
async def _reloaded_certificate(
    api: HttpApi, settings: CatalogueSettings, certificate: Path, key: Path
) -> AsyncIterator[ServerCertificate]:
    """Load the certificate again within the block; its problems make the catalogue not ready."""
    server_certificate = ServerCertificate(certificate, key, "catalogue", settings.secret_name)
    api.health.add("certificate", lambda: server_certificate.problem)
    server_certificate.reload()
    async with background_tasks(
        _reload_periodically(server_certificate), name="reload of the certificate"
    ):
        yield server_certificate


async def _reload_periodically(certificate: ServerCertificate) -> None:
    while True:
        await asyncio.sleep(_RELOAD_INTERVAL)
        await asyncio.to_thread(certificate.reload)


@asynccontextmanager
async def _api_tasks(api: HttpApi) -> AsyncIterator[HttpApi]:
    """Refresh the database, commit events and watch health within the block."""
    work = (api.refresh_database(), api.run_commits(), api.health.watch())
    try:
        async with background_tasks(*work, name="catalogue"):
            yield api
    finally:
        api.close()


def _rotating_database(settings: CatalogueSettings) -> RotatingDatabase:
    if not settings.database_is_mounted:
        _check_url(settings.database_url.get_secret_value())
    return RotatingDatabase(settings.read_database_url, settings.maximum_connections)


def _check_url(url: str) -> None:
    try:
        open_engine(url).dispose()
    except ValueError as wrong:
        raise ConfigurationMistake([str(wrong)]) from None
