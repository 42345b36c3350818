"""All services in one process; the ready line is printed when a C-ECHO succeeds.

They start in the order of their dependencies: NATS, catalogue, ingestion, DICOMweb, proxy. They
stop in the reverse order, so that each can finish its work.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dimse_ingestion.catalogue import app as catalogue
from dimse_ingestion.commands.standalone.advertised_host import advertised_host
from dimse_ingestion.commands.standalone.embedded_nats import EmbeddedNats
from dimse_ingestion.commands.standalone.folder_lock import lock_folder
from dimse_ingestion.commands.standalone.ports import check_ports, free_port
from dimse_ingestion.commands.standalone.viewer import fetch_viewer
from dimse_ingestion.dicomweb import app as dicomweb
from dimse_ingestion.ingestion import app as ingestion
from dimse_ingestion.observability import logging, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.process import stop_signal
from dimse_ingestion.proxy import app as proxy
from dimse_ingestion.proxy.service import RunningProxy
from dimse_ingestion.settings import (
    CatalogueSettings,
    ConfigurationMistake,
    DicomwebSettings,
    IngestionSettings,
    ProxySettings,
)
from dimse_ingestion.settings.types import check_host

_LOG = logger(__name__)
_LOOPBACK = "127.0.0.1"
_LOOK_AGAIN = 0.1
_OPTIONS = {
    "DIMSE_PORT": "--host, --dimse-port",
    "DICOMWEB_HTTP_PORT": "--host, --http-port",
    "DIMSE_AE": "--ae-title",
    "PROVIDER_NAME": "--provider",
}


@dataclass(frozen=True, slots=True)
class Standalone:
    """The user's options; `viewer` is an npm registry's URL, or empty for none."""

    data: Path
    dimse_port: int
    http_port: int
    host: str
    ae_title: str
    provider: str
    viewer: str


@dataclass(frozen=True, slots=True)
class RunningServices:
    """The running services; `http` is DICOMweb's URL, without /dicomweb."""

    proxy: RunningProxy
    dicomweb: dicomweb.RunningServer
    http: str


async def run(options: Standalone) -> int:
    """Serve until a signal to stop; return the exit status.

    Raises ConfigurationMistake when an address or title can't be used.
    """
    logging.configure("standalone")
    tracing.configure("standalone")
    try:
        await _serve(options, await _viewer(options))
    except ConfigurationMistake as mistake:
        raise ConfigurationMistake(map(_name_options, mistake.sentences)) from None
    return 0


async def _viewer(options: Standalone) -> Path | None:
    """Get the viewer's files before a service starts: until then Ctrl-C ends the process."""
    return (
        await fetch_viewer(options.data.resolve() / "viewer", options.viewer)
        if options.viewer
        else None
    )


async def _serve(options: Standalone, viewer: Path | None) -> None:
    with stop_signal() as stop:
        async with opened(options, viewer) as services:
            ready = asyncio.create_task(_announce_ready(services))
            await stop.wait()
            ready.cancel()


def _name_options(sentence: str) -> str:
    """Replace settings' names in a sentence by those of the command line's options."""
    for variable, option in _OPTIONS.items():
        sentence = sentence.replace(variable, option)
    return sentence


@asynccontextmanager
async def opened(options: Standalone, viewer: Path | None = None) -> AsyncIterator[RunningServices]:
    """Run all services within the block."""
    data = options.data.resolve()
    try:
        check_host(options.host)
    except ValueError as wrong:
        raise ConfigurationMistake([f"--host: {wrong}"]) from None
    http_port = options.http_port or free_port(options.host)
    check_ports(options.host, {"DICOMWEB_HTTP_PORT": http_port, "DIMSE_PORT": options.dimse_port})
    http = f"http://{_in_url(advertised_host(options.host))}:{http_port}"
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_folder(data))
        nats = EmbeddedNats(data / "nats")
        await _start(nats)
        stack.push_async_callback(nats.stop)
        token = secrets.token_urlsafe(32)  # keeps out other users of this machine
        port = await stack.enter_async_context(catalogue.running(_catalogue(data, token)))
        space = _space(options, data, port, http) | {"catalogue_token": token}
        await stack.enter_async_context(ingestion.running(_ingestion(data, space, nats)))
        web = await stack.enter_async_context(
            dicomweb.running(_dicomweb(options, data, space, http_port), viewer)
        )
        yield RunningServices(
            await stack.enter_async_context(proxy.running(_proxy(options, data, nats))), web, http
        )


async def _start(nats: EmbeddedNats) -> None:
    try:
        await nats.start()
    except (RuntimeError, OSError) as error:
        raise ConfigurationMistake(str(error).splitlines()) from None


async def _announce_ready(services: RunningServices) -> None:
    """Print the ready line on standard output when a C-ECHO and DICOMweb have succeeded."""
    for health in (services.proxy.health, services.dicomweb.health):
        while problems := await health.problems():
            _LOG.debug("Not ready yet.", **problems)
            await asyncio.sleep(_LOOK_AGAIN)
    host, port = services.proxy.address
    dimse = f"dimse={services.proxy.ae_title}@{advertised_host(host)}:{port}"
    print(f"ready {dimse} http={services.http}", flush=True)  # noqa: T201 - is the interface


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _catalogue(data: Path, token: str) -> CatalogueSettings:
    return CatalogueSettings.load(
        database_url=f"sqlite:///{quote(str(data))}/catalogue.db",
        http_host=_LOOPBACK,
        http_port=0,
        token=token,
    )


def _space(options: Standalone, data: Path, catalogue_port: int, http: str) -> dict[str, Any]:
    """Return the settings that ingestion service and DICOMweb have in common."""
    config = data / "bucket-config"
    config.mkdir(exist_ok=True)
    (data / "bucket").mkdir(exist_ok=True)
    (config / "LOCAL_STORAGE_PATH").write_text(str(data / "bucket"))
    address = f"http://{_LOOPBACK}:{catalogue_port}"
    return {
        "provider_name": options.provider,
        "bucket_config_path": config,
        "bucket_secret_path": config,
        "event_sink": f"{address}/events",
        "query_endpoint": address,
        "wado_internal_endpoint": f"{http}/dicomweb",
        "wado_external_endpoint": f"{http}/dicomweb",
        "http_host": _LOOPBACK,
        "http_port": 0,
    }


def _ingestion(data: Path, space: dict[str, Any], nats: EmbeddedNats) -> IngestionSettings:
    return IngestionSettings.load(
        **space,
        nats_url=nats.url,
        nats_tls_enabled=False,
        nats_auth_token=nats.token,
        replica_id="standalone",
        decoder_directory=data / "decompression",
    )


def _dicomweb(
    options: Standalone, data: Path, space: dict[str, Any], http_port: int
) -> DicomwebSettings:
    return DicomwebSettings.load(
        **space,
        dicomweb_host=options.host,
        dicomweb_port=http_port,
        spool_directory=data / "dicomweb-spool",
        audit_directory=data / "audit",
    )


def _proxy(options: Standalone, data: Path, nats: EmbeddedNats) -> ProxySettings:
    return ProxySettings.load(
        nats_url=nats.url,
        nats_tls_enabled=False,
        nats_auth_token=nats.token,
        proxy_id="standalone",
        ae_title=options.ae_title,
        host=options.host,
        port=options.dimse_port,
        http_host=_LOOPBACK,
        http_port=0,
        spool_directory=data / "spool",
        audit_directory=data / "audit",
        storage_commitment_directory=data / "commitment",
    )
