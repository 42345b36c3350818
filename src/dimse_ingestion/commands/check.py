"""The command `check`: tests a service's configuration before images depend on it.

It prints one line for each check, and runs all checks, whatever failed before. It connects as the
service would and changes nothing but an object of its own in the bucket.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

from dimse_ingestion.audit.repository import repository
from dimse_ingestion.catalogue import database
from dimse_ingestion.catalogue.sqlite_file import creation_problem
from dimse_ingestion.commands.report import Report
from dimse_ingestion.observability import logging
from dimse_ingestion.operations.composition import open_backends
from dimse_ingestion.proxy.peers import PeerAssociations, echo
from dimse_ingestion.proxy.retrieve.negotiation import has_move_destination
from dimse_ingestion.proxy.upstream_probe import UpstreamProbe
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
from dimse_ingestion.settings.audit import AuditSettings
from dimse_ingestion.spooling.directory import check_writable
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


async def run(service: str, config: Path | None = None) -> int:
    """Check one service's configuration; return 0 when all is well, else 1."""
    checks: dict[str, Callable[[Report, Path | None], Awaitable[None]]] = {
        "proxy": _check_proxy,
        "ingestion": _check_ingestion,
        "dicomweb": _check_dicomweb,
        "catalogue": _check_catalogue,
    }
    if service not in checks:
        raise ConfigurationMistake([f"{service} is no service: give {', '.join(checks)}."])
    logging.configure("check", "error")
    report = Report(Console())
    try:
        await checks[service](report, config)
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.fail("settings", sentence)
    return int(report.failed)


async def _check_proxy(report: Report, config: Path | None) -> None:
    settings = ProxySettings.load(config)
    for space in settings.storage_spaces:
        report.ok(f"settings: AE title {space.ae_title}, port {space.port}")
        needs = proxy_permissions(space.nats_subject_root, space.proxy_id)
        async with _connection(report, space, f"proxy {space.proxy_id}", needs) as nats:
            if nats is not None:
                await _check_whole_path(report, space, nats)
    await _check_peers(report, settings)
    if settings.storage_commitment_enabled:
        await _check_commitment(report, settings)
    await _check_audit(report, settings)


async def _check_audit(report: Report, settings: AuditSettings) -> None:
    """Check that the audit queue can be written, and the repository reached; sends nothing."""
    address = settings.audit_repository
    if address is None:
        report.ok("audit trail: off (DIMSE_AUDIT_REPOSITORY)")
        return
    folder = settings.audit_directory
    try:
        await asyncio.to_thread(check_writable, folder)
    except OSError as error:
        reason = f"{error.strerror}: give a folder that this user may write to."
        report.fail(f"audit queue in {folder}", reason)
    else:
        report.ok(f"audit queue in {folder}: can be written")
    found = repository(settings)
    ok = "its name is known; UDP has no answer" if address.is_udp else "reached over TLS"
    await report.check(f"audit repository {address}", lambda: asyncio.to_thread(found.connect), ok)
    await asyncio.to_thread(found.close)


async def _check_commitment(report: Report, settings: ProxySettings) -> None:
    """Check that requests for storage commitment can be accepted."""
    folder = settings.storage_commitment_directory
    subject = f"journal of storage commitment in {folder}"
    try:
        await asyncio.to_thread(check_writable, folder)
    except OSError as error:
        report.fail(subject, f"{error.strerror}: give a folder that this user may write to.")
    else:
        report.ok(f"{subject}: can be written")
    titles = [peer.ae_title for peer in settings.peers if "commit" in peer.may]
    if titles:
        report.ok(f"storage commitment for {', '.join(titles)}")
    else:
        report.fail("storage commitment", "no peer has the right commit: give may: [commit].")


async def _check_peers(report: Report, settings: ProxySettings) -> None:
    """Send a C-ECHO to each peer that has an address."""
    associations = PeerAssociations(settings)
    for peer in settings.peers:
        if peer.address is None:
            report.ok(f"peer {peer.ae_title}: no address, so it is not connected to")
            continue
        host, port = peer.address
        await report.check(
            f"peer {peer.ae_title} at {host}:{port}",
            partial(echo, associations, peer, settings.storage_spaces[0].ae_title),
            "a C-ECHO succeeded",
        )
    _check_move_destinations(report, settings)


def _check_move_destinations(report: Report, settings: ProxySettings) -> None:
    """Warn when peers may request a C-MOVE, which then has no destination."""
    movers = [peer.ae_title for peer in settings.peers if "move" in peer.may]
    if settings.retrieve_enabled and movers and not has_move_destination(settings):
        report.warn(
            f"C-MOVE for {', '.join(movers)}",
            "no peer has an address, so each C-MOVE is answered A801: give host and port of each "
            "destination in peers.",
        )


async def _check_whole_path(report: Report, settings: ProxySettings, nats: NatsClient) -> None:
    client = CarrierClient(nats, Subjects(settings.nats_subject_root), settings.proxy_id)
    await client.start()
    path = UpstreamProbe(client, settings.ae_title, lambda: nats.problem)
    await path.probe()
    if path.problem:
        report.fail("the path to bucket and catalogue", path.problem)
    else:
        report.ok("the path to bucket and catalogue: a C-ECHO succeeded")
    await client.close()


async def _check_ingestion(report: Report, _: Path | None) -> None:
    settings = IngestionSettings.load()
    report.ok(f"settings: provider {settings.provider_name}")
    needs = ingestion_permissions(settings.nats_subject_root)
    async with _connection(report, settings, "ingestion check", needs):
        pass
    await _check_space(report, settings)


async def _check_dicomweb(report: Report, _: Path | None) -> None:
    settings = DicomwebSettings.load()
    report.ok(f"settings: provider {settings.provider_name}, access {settings.access}")
    await _check_space(report, settings)
    await _check_audit(report, settings)


async def _check_space(report: Report, settings: StorageSpaceSettings) -> None:
    """Check bucket, event sink and catalogue."""
    await report.check(
        f"bucket as mounted at {settings.bucket_config_path}",
        lambda: _async_call(settings.read_bucket),
    )
    async with open_backends(settings) as backends:
        await report.check(
            "bucket", lambda: backends.bucket.check(write=True), "can be read and written"
        )
        await report.check(f"event sink {settings.event_sink}", backends.sink.check, "reached")
        await report.check(
            f"catalogue {settings.query_endpoint}", backends.queries.check, "reached"
        )


async def _check_catalogue(report: Report, _: Path | None) -> None:
    settings = CatalogueSettings.load()
    report.ok(f"settings: duplicates {settings.duplicates}")
    await _check_access(report, settings)
    try:
        engine = database.open_engine(settings.read_database_url(), read_only=True)
    except (MountedMissing, ValueError) as error:
        report.fail("database", str(error))
        return
    try:
        await _check_database(report, engine)
    finally:
        engine.dispose()


async def _check_database(report: Report, engine: Engine) -> None:
    """Check that the database is reached, or that its SQLite file can be created."""
    path = database.missing_file(engine)
    if path is None:
        await report.check("database", lambda: asyncio.to_thread(database.probe, engine), "reached")
    elif problem := creation_problem(path):
        report.fail("database", problem)
    else:
        report.ok(f"database: {path} does not exist yet: the catalogue creates it at its start")


async def _check_access(report: Report, settings: CatalogueSettings) -> None:
    """Check certificate and token, or that none are needed."""
    try:
        settings.refuse_exposed()
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            report.fail("events and queries", sentence)
    if settings.token.get_secret_value():
        await report.check("token", lambda: _async_call(settings.access.read_tokens), "there")
    certificate, key = settings.certificate_path, settings.key_path
    if certificate is None or key is None:
        report.ok(f"events and queries without TLS at {settings.http_host}")
        return
    server_certificate = ServerCertificate(certificate, key, "catalogue", settings.secret_name)
    server_certificate.reload()
    if server_certificate.problem:
        report.fail("certificate", server_certificate.problem)
    else:
        report.ok("certificate: certificate and key belong together, and are valid now")


@asynccontextmanager
async def _connection(
    report: Report, settings: NatsSettings, name: str, needs: Permissions
) -> AsyncIterator[NatsClient | None]:
    """Open a connection to NATS and check it; None when it fails."""
    has_credential = await report.check(
        "NATS credential",
        lambda: _async_call(settings.read_credential),
    )
    try:
        nats = NatsClient(nats_options(settings, name, needs))
    except ValueError as error:
        report.fail("NATS address", str(error))
        yield None
        return
    await nats.start()
    try:
        reached = has_credential and await report.check(
            f"NATS at {settings.nats_url}",
            lambda: nats.wait_connected(_LONGEST_CONNECT),
            _connection_text(settings),
        )
        if reached:
            _report_permissions(report, nats, needs)
        yield nats if reached else None
    finally:
        await nats.close()


def _connection_text(settings: NatsSettings) -> str:
    servers = parse_servers(settings.nats_url, secure=settings.nats_tls_enabled)
    verified = all(server.encrypted for server in servers)
    how = "with its certificate verified" if verified else "without TLS"
    return f"reached {how}, the credential accepted"


def _report_permissions(report: Report, nats: NatsClient, needs: Permissions) -> None:
    denied = {(denial.publish, denial.subject) for denial in nats.denials}
    for publish, subjects in ((True, needs.publish), (False, needs.subscribe)):
        for subject in subjects:
            verb = "publish to" if publish else "subscribe to"
            if (publish, check_subject(subject)[0]) in denied:
                report.fail(f"NATS permission to {verb} {subject}", "allow it to this user.")
            else:
                report.ok(f"NATS permission to {verb} {subject}")


async def _async_call(read: Callable[[], object]) -> None:
    read()
