"""What is wrong with a door's configuration, said before a patient's image finds out.

One line for each thing looked at; everything that can be looked at is, whatever failed before.
It connects as the door would and changes nothing but an object of its own in the bucket.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

from dimse_ingestion.catalogue import database
from dimse_ingestion.commands.report import Report
from dimse_ingestion.observability import logging
from dimse_ingestion.operations.composition import open_backends
from dimse_ingestion.proxy.upstream_probe import WholePath
from dimse_ingestion.secure_http.server_certificate import ServerCertificate
from dimse_ingestion.settings import (
    CatalogueSettings,
    ConfigurationMistake,
    DicomwebSettings,
    IngestionSettings,
    MountedMissing,
    NatsSettings,
    ProxySettings,
    StorageSpaceSettings,
)
from dimse_ingestion.transport.client.client import CarrierClient
from dimse_ingestion.transport.nats.client import NatsClient
from dimse_ingestion.transport.nats.from_settings import nats_options
from dimse_ingestion.transport.nats.permissions import check_subject
from dimse_ingestion.transport.nats.server_urls import parse_servers
from dimse_ingestion.transport.protocol.subjects import (
    Permissions,
    Subjects,
    ingestion_permissions,
    proxy_permissions,
)

_LONGEST_CONNECT = 10.0


async def run(door: str, config: Path | None = None) -> int:
    """Check one door's configuration; 0 when all is well, else 1."""
    checks: dict[str, Callable[[Report, Path | None], Awaitable[None]]] = {
        "proxy": _check_proxy,
        "ingestion": _check_ingestion,
        "dicomweb": _check_dicomweb,
        "catalogue": _check_catalogue,
    }
    if door not in checks:
        raise ConfigurationMistake([f"{door} is no door: give {', '.join(checks)}."])
    logging.configure("check", "error")
    report = Report(Console())
    try:
        await checks[door](report, config)
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.wrong("settings", sentence)
    return int(report.failed)


async def _check_proxy(report: Report, config: Path | None) -> None:
    settings = ProxySettings.load(config)
    report.well(f"settings: AE title {settings.ae_title}, port {settings.port}")
    needs = proxy_permissions(settings.nats_subject_root, settings.proxy_id)
    async with _linked(report, settings, f"proxy {settings.proxy_id}", needs) as link:
        if link is not None:
            await _check_way(report, settings, link)


async def _check_way(report: Report, settings: ProxySettings, link: NatsClient) -> None:
    requester = CarrierClient(link, Subjects(settings.nats_subject_root), settings.proxy_id)
    await requester.start()
    path = WholePath(requester, settings.ae_title, lambda: link.trouble)
    await path.look()
    if path.trouble:
        report.wrong("the way to bucket and catalogue", path.trouble)
    else:
        report.well("the way to bucket and catalogue: a C-ECHO went all the way")
    await requester.close()


async def _check_ingestion(report: Report, _: Path | None) -> None:
    settings = IngestionSettings.load()
    report.well(f"settings: provider {settings.provider_name}")
    needs = ingestion_permissions(settings.nats_subject_root)
    async with _linked(report, settings, "ingestion check", needs):
        pass
    await _check_space(report, settings)


async def _check_dicomweb(report: Report, _: Path | None) -> None:
    settings = DicomwebSettings.load()
    report.well(f"settings: provider {settings.provider_name}, access {settings.access}")
    await _check_space(report, settings)


async def _check_space(report: Report, settings: StorageSpaceSettings) -> None:
    """Bucket, event sink and catalogue."""
    await report.look(
        f"bucket as mounted at {settings.bucket_config_path}",
        lambda: _raising(settings.read_bucket),
    )
    async with open_backends(settings) as wires:
        await report.look(
            "bucket", lambda: wires.bucket.check(write=True), "can be read and written"
        )
        await report.look(f"event sink {settings.event_sink}", wires.sink.check, "reached")
        await report.look(f"catalogue {settings.query_endpoint}", wires.queries.check, "reached")


async def _check_catalogue(report: Report, _: Path | None) -> None:
    settings = CatalogueSettings.load()
    report.well(f"settings: duplicates {settings.duplicates}")
    await _check_exposure(report, settings)
    try:
        engine = database.open_engine(settings.read_database_url())
    except (MountedMissing, ValueError) as wrong:
        report.wrong("database", str(wrong))
        return
    try:
        await report.look("database", lambda: asyncio.to_thread(_reach, engine), "reached")
    finally:
        engine.dispose()


async def _check_exposure(report: Report, settings: CatalogueSettings) -> None:
    """Certificate and token, or why there are none."""
    try:
        settings.refuse_exposed()
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.wrong("events and queries", sentence)
    if settings.token.get_secret_value():
        await report.look("token", lambda: _raising(settings.access.read_tokens), "there")
    certificate, key = settings.certificate_path, settings.key_path
    if certificate is None or key is None:
        report.well(f"events and queries without TLS at {settings.http_host}")
        return
    following = ServerCertificate(certificate, key, "catalogue", settings.secret_name)
    following.reload()
    if following.problem:
        report.wrong("certificate", following.problem)
    else:
        report.well("certificate: certificate and key belong together, and are valid now")


def _reach(engine: Engine) -> None:
    with database.database_errors(), engine.connect():
        pass


@asynccontextmanager
async def _linked(
    report: Report, settings: NatsSettings, name: str, needs: Permissions
) -> AsyncIterator[NatsClient | None]:
    """A connection to NATS, checked; None when there is none."""
    has_credential = await report.look(
        "NATS credential",
        lambda: _raising(settings.read_credential),
    )
    try:
        link = NatsClient(nats_options(settings, name, needs))
    except ValueError as wrong:
        report.wrong("NATS address", str(wrong))
        yield None
        return
    await link.start()
    try:
        reached = has_credential and await report.look(
            f"NATS at {settings.nats_url}",
            lambda: link.wait_connected(_LONGEST_CONNECT),
            _reached(settings),
        )
        if reached:
            _tell_permissions(report, link, needs)
        yield link if reached else None
    finally:
        await link.close()


def _reached(settings: NatsSettings) -> str:
    servers = parse_servers(settings.nats_url, secure=settings.nats_tls_enabled)
    verified = all(server.encrypted for server in servers)
    how = "with its certificate verified" if verified else "without TLS"
    return f"reached {how}, the credential accepted"


def _tell_permissions(report: Report, link: NatsClient, needs: Permissions) -> None:
    denied = {(denial.publish, denial.subject) for denial in link.denials}
    for publish, subjects in ((True, needs.publish), (False, needs.subscribe)):
        for subject in subjects:
            verb = "publish to" if publish else "subscribe to"
            if (publish, check_subject(subject)[0]) in denied:
                report.wrong(f"NATS permission to {verb} {subject}", "allow it to this user.")
            else:
                report.well(f"NATS permission to {verb} {subject}")


async def _raising(read: Callable[[], object]) -> None:
    read()
