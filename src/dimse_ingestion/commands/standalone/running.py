"""All doors joined in one process, with what they need beside them; ready when an echo says so.

The order of starting is that of the wires: NATS, catalogue, ingestion, DICOMweb, proxy. The order
of ending is the reverse, so that every door can finish what it has.
"""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dimse_ingestion.catalogue import app as catalogue
from dimse_ingestion.commands.standalone.embedded_nats import EmbeddedNats
from dimse_ingestion.commands.standalone.naming import named
from dimse_ingestion.commands.standalone.owning import owned
from dimse_ingestion.commands.standalone.viewer import fetched
from dimse_ingestion.dicomweb import app as dicomweb
from dimse_ingestion.ingestion import app as ingestion
from dimse_ingestion.observability import logging, tracing
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.observability.shutdown import stop_signal
from dimse_ingestion.proxy import app as proxy
from dimse_ingestion.proxy.service import OpenDoor
from dimse_ingestion.settings import (
    CatalogueSettings,
    ConfigurationMistake,
    DicomwebSettings,
    IngestionSettings,
    ProxySettings,
)
from dimse_ingestion.settings.errors import address_mistake
from dimse_ingestion.settings.types import checked_host

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
    """What a user asks for; `viewer` is the npm registry that has one, empty for none."""

    data: Path
    dimse_port: int
    http_port: int
    host: str
    ae_title: str
    provider: str
    viewer: str


@dataclass(frozen=True, slots=True)
class OpenDoors:
    """Everything, open; `http` is the address of DICOMweb's door, without /dicomweb."""

    proxy: OpenDoor
    dicomweb: dicomweb.OpenDoor
    http: str


async def run(asked: Standalone) -> int:
    """Serve until told to stop; the exit status.

    Raises ConfigurationMistake when an address or title can't be used.
    """
    logging.configure("standalone")
    tracing.configure("standalone")
    try:
        await _serve(asked, await _viewer(asked))
    except ConfigurationMistake as mistake:
        raise ConfigurationMistake(map(_as_options, mistake.sentences)) from None
    return 0


async def _viewer(asked: Standalone) -> Path | None:
    """The viewer's files, before anything is opened: until then a Ctrl-C ends us at once."""
    return await fetched(asked.data.resolve() / "viewer", asked.viewer) if asked.viewer else None


async def _serve(asked: Standalone, viewer: Path | None) -> None:
    with stop_signal() as told:
        async with opened(asked, viewer) as doors:
            ready = asyncio.create_task(_say_when_ready(doors))
            await told.wait()
            ready.cancel()


def _as_options(sentence: str) -> str:
    """A mistake by the name that a user of the command line knows."""
    for variable, option in _OPTIONS.items():
        sentence = sentence.replace(variable, option)
    return sentence


@asynccontextmanager
async def opened(asked: Standalone, viewer: Path | None = None) -> AsyncIterator[OpenDoors]:
    """Everything, within the block."""
    data = asked.data.resolve()
    try:
        checked_host(asked.host)
    except ValueError as wrong:
        raise ConfigurationMistake([f"--host: {wrong}"]) from None
    http_port = asked.http_port or _free_port(asked.host)
    http = f"http://{_in_url(named(asked.host))}:{http_port}"
    async with AsyncExitStack() as stack:
        stack.enter_context(owned(data))
        nats = EmbeddedNats(data / "nats")
        await _start(nats)
        stack.push_async_callback(nats.stop)
        token = secrets.token_urlsafe(32)  # other users of this machine do not have it
        port = await stack.enter_async_context(catalogue.running(_catalogue(data, token)))
        space = _space(asked, data, port, http) | {"catalogue_token": token}
        await stack.enter_async_context(ingestion.opened(_ingestion(space, nats)))
        web = await stack.enter_async_context(
            dicomweb.opened(_dicomweb(asked, data, space, http_port), viewer)
        )
        yield OpenDoors(
            await stack.enter_async_context(proxy.running(_proxy(asked, data, nats))), web, http
        )


async def _start(nats: EmbeddedNats) -> None:
    try:
        await nats.start()
    except (RuntimeError, OSError) as trouble:
        raise ConfigurationMistake(str(trouble).splitlines()) from None


async def _say_when_ready(doors: OpenDoors) -> None:
    """The one line on standard output: a C-ECHO has gone all the way, and DICOMweb is ready."""
    for health in (doors.proxy.health, doors.dicomweb.health):
        while troubles := await health.troubles():
            _LOG.debug("Not ready yet.", **troubles)
            await asyncio.sleep(_LOOK_AGAIN)
    host, port = doors.proxy.address
    dimse = f"dimse={doors.proxy.ae_title}@{named(host)}:{port}"
    print(f"ready {dimse} http={doors.http}", flush=True)  # noqa: T201 - is the interface


def _free_port(host: str) -> int:
    """A port nobody listens on: events name DICOMweb's address before its door is open."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, 0), family=family) as listening:
            port: int = listening.getsockname()[1]
            return port
    except OSError as error:
        raise address_mistake("--host", host, error) from None


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _catalogue(data: Path, token: str) -> CatalogueSettings:
    return CatalogueSettings.load(
        database_url=f"sqlite:///{quote(str(data))}/catalogue.db",
        http_host=_LOOPBACK,
        http_port=0,
        token=token,
    )


def _space(asked: Standalone, data: Path, catalogue_port: int, http: str) -> dict[str, Any]:
    """What ingestion service and DICOMweb have in common."""
    config = data / "bucket-config"
    config.mkdir(exist_ok=True)
    (data / "bucket").mkdir(exist_ok=True)
    (config / "LOCAL_STORAGE_PATH").write_text(str(data / "bucket"))
    address = f"http://{_LOOPBACK}:{catalogue_port}"
    return {
        "provider_name": asked.provider,
        "bucket_config_path": config,
        "bucket_secret_path": config,
        "event_sink": f"{address}/events",
        "query_endpoint": address,
        "wado_internal_endpoint": f"{http}/dicomweb",
        "wado_external_endpoint": f"{http}/dicomweb",
        "http_host": _LOOPBACK,
        "http_port": 0,
    }


def _ingestion(space: dict[str, Any], nats: EmbeddedNats) -> IngestionSettings:
    return IngestionSettings.load(
        **space,
        nats_url=nats.url,
        nats_tls_enabled=False,
        nats_auth_token=nats.token,
        replica_id="standalone",
    )


def _dicomweb(
    asked: Standalone, data: Path, space: dict[str, Any], http_port: int
) -> DicomwebSettings:
    return DicomwebSettings.load(
        **space,
        dicomweb_host=asked.host,
        dicomweb_port=http_port,
        spool_directory=data / "dicomweb-spool",
    )


def _proxy(asked: Standalone, data: Path, nats: EmbeddedNats) -> ProxySettings:
    return ProxySettings.load(
        nats_url=nats.url,
        nats_tls_enabled=False,
        nats_auth_token=nats.token,
        proxy_id="standalone",
        ae_title=asked.ae_title,
        host=asked.host,
        port=asked.dimse_port,
        http_host=_LOOPBACK,
        http_port=0,
        spool_directory=data / "spool",
    )
