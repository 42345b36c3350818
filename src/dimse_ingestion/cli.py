"""The command line: choose a command, load its settings, run it.

Commands and services are imported when chosen, which makes the start fast. Defaults are in
`settings`, the work is in `commands` and in the services: a command here is a line or two.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dimse_ingestion.commands.errors import errors_as_sentences, requires_extra

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A hospital's images into the cloud: DIMSE proxy, ingestion service and catalogue.",
)

if TYPE_CHECKING:
    from rich.console import Console

_REGISTRY = "https://registry.npmjs.org"


def _path(value: str | Path) -> Path:
    """Return an option's path; an empty one, as of an unset variable, would mean this folder."""
    if not str(value).strip():
        raise typer.BadParameter("it is empty: give a path.")
    return Path(value)


_Config = Annotated[
    Path | None,
    typer.Option(parser=_path, help="proxy.yaml: the settings as keys; the environment wins."),
]


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(parser=_path, help="Keep bucket, catalogue and log in this folder."),
    ] = None,
) -> None:
    """Send real images through the whole system, query them, and prove that all arrived."""
    with requires_extra("standalone"):
        from dimse_ingestion.commands.demo.run import run_demo

    with errors_as_sentences():
        raise typer.Exit(run_demo(data))


@app.command()
def standalone(
    data: Annotated[
        Path, typer.Option(parser=_path, help="bucket/, catalogue.db and spool/.")
    ] = Path("dimse-data"),
    dimse_port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="DIMSE_PORT", help="0 = any free one.")
    ] = 11112,
    http_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            envvar="DICOMWEB_HTTP_PORT",
            help="DICOMweb's and the page's; 0 = any free one.",
        ),
    ] = 8080,
    host: Annotated[
        str, typer.Option(envvar="DIMSE_HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    ae_title: Annotated[
        str, typer.Option(envvar=["DIMSE_AE", "DIMSE_AE_TITLE"], help="Called AE title.")
    ] = "DICOM-INGEST",
    provider: Annotated[
        str, typer.Option(envvar="PROVIDER_NAME", help="The storage space's provider name.")
    ] = "provider",
    viewer: Annotated[
        bool, typer.Option("--viewer", help="Show studies in OHIF too: downloaded once, 50 MB.")
    ] = False,
    viewer_registry: Annotated[
        str,
        typer.Option(
            envvar=["NPM_CONFIG_REGISTRY", "npm_config_registry"],
            help="The npm registry that has it.",
        ),
    ] = _REGISTRY,
) -> None:
    """Run all services on this machine: NATS, proxy, ingestion, DICOMweb, catalogue, a folder."""
    with requires_extra("standalone"):
        from dimse_ingestion.commands.standalone.run import Standalone, run

    options = Standalone(
        data=data,
        dimse_port=dimse_port,
        http_port=http_port,
        host=host,
        ae_title=ae_title,
        provider=provider,
        viewer=(viewer_registry or _REGISTRY) if viewer else "",
    )
    _run(lambda: run(options))


@app.command()
def proxy(config: _Config = None) -> None:
    """Run the AE in the imaging zone."""
    from dimse_ingestion.proxy.app import run
    from dimse_ingestion.settings import ProxySettings

    _run(lambda: run(ProxySettings.load(config)))


@app.command()
def ingestion() -> None:
    """Run the ingestion service beside the bucket."""
    from dimse_ingestion.ingestion.app import run
    from dimse_ingestion.settings import IngestionSettings

    _run(lambda: run(IngestionSettings.load()))


@app.command()
def dicomweb() -> None:
    """Run STOW-RS, QIDO-RS and WADO-RS on the same storage space."""
    from dimse_ingestion.dicomweb.app import run
    from dimse_ingestion.settings import DicomwebSettings

    _run(lambda: run(DicomwebSettings.load()))


@app.command()
def catalogue(
    migrate_only: Annotated[
        bool,
        typer.Option("--migrate-only", help="Bring the database's schema up to date, and end."),
    ] = False,
) -> None:
    """Run the catalogue: events in, queries out."""
    from dimse_ingestion.catalogue.app import migrate, run
    from dimse_ingestion.settings import CatalogueSettings

    async def service() -> int:
        settings = CatalogueSettings.load()
        return migrate(settings) if migrate_only else await run(settings)

    _run(service)


@app.command()
def operator() -> None:
    """Apply releases for a cluster's custom resources (needs the extra `operator`)."""
    with requires_extra("operator"):
        from dimse_ingestion.operator.app import run
        from dimse_ingestion.settings import OperatorSettings

    _run(lambda: run(OperatorSettings.load()))


@app.command()
def check(
    service: Annotated[str, typer.Argument(help="proxy, ingestion, dicomweb or catalogue.")],
    config: _Config = None,
) -> None:
    """Check a service's configuration; print one line for each check."""
    from dimse_ingestion.commands.check import run

    _run(lambda: run(service, config), logs=False)


@app.command()
def prove(
    config: _Config = None,
    to: Annotated[
        str, typer.Option(help="HOST:PORT of a running proxy; else one is started.")
    ] = "",
    called: Annotated[
        list[str] | None,
        typer.Option(
            help="AE title of that proxy (DICOM-INGEST), or of a storage space; repeat it for each."
        ),
    ] = None,
    calling: Annotated[str, typer.Option(help="Calling AE title.")] = "DIMSE-PROVE",
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds until the started proxy's echo must succeed.")
    ] = 60.0,
) -> None:
    """Store a test instance and find it again, by a proxy configured as `proxy` is."""
    from dimse_ingestion.commands.prove import address_of, run, run_at

    titles = called or ["DICOM-INGEST"]
    _run(lambda: run_at(address_of(to), titles, calling) if to else run(config, wait), logs=False)


@app.command()
def reindex(
    parallel: Annotated[int, typer.Option(min=1, max=1000, help="Objects read at once.")] = 8,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing", help="Read only objects without an entry: cheap enough for every night."
        ),
    ] = False,
) -> None:
    """Rebuild the catalogue from the bucket; configured like the ingestion service."""
    from dimse_ingestion.commands.reindex import run
    from dimse_ingestion.settings import IngestionSettings

    _run(lambda: run(IngestionSettings.load(), parallel=parallel, missing=missing))


spool_app = typer.Typer(no_args_is_help=True, help="See and handle what a proxy's spool holds.")
app.add_typer(spool_app, name="spool")
_Directory = Annotated[
    Path | None, typer.Option(help="The spool directory; else that of the proxy's settings.")
]
_Ids = Annotated[list[str] | None, typer.Argument(help="Operation ids, as `spool list` has them.")]


@spool_app.command("list")
def spool_list(config: _Config = None, directory: _Directory = None) -> None:
    """List the data sets that wait and the dead letters."""
    from dimse_ingestion.commands import spool

    _act(lambda console: spool.list_items(spool.spool_directory(config, directory), console))


@spool_app.command("show")
def spool_show(operation_id: str, config: _Config = None, directory: _Directory = None) -> None:
    """Show what is known of one data set, and why it was refused."""
    from dimse_ingestion.commands import spool

    _act(
        lambda console: spool.show(spool.spool_directory(config, directory), operation_id, console)
    )


@spool_app.command("retry")
def spool_retry(ids: _Ids = None, config: _Config = None, directory: _Directory = None) -> None:
    """Forward dead letters again; without ids, all of them."""
    from dimse_ingestion.commands import spool

    _act(lambda console: spool.retry(spool.spool_directory(config, directory), ids or [], console))


@spool_app.command("export")
def spool_export(
    to: Annotated[Path, typer.Option(help="Folder for the DICOM files.")],
    ids: _Ids = None,
    config: _Config = None,
    directory: _Directory = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Without ids: also all that wait.")
    ] = False,
) -> None:
    """Write data sets as DICOM files; without ids, all dead letters."""
    from dimse_ingestion.commands import spool

    _act(
        lambda console: spool.export(
            spool.spool_directory(config, directory), ids or [], to, console, waiting=waiting
        )
    )


@spool_app.command("drop")
def spool_drop(
    ids: Annotated[list[str], typer.Argument(help="Operation ids, as `spool list` has them.")],
    config: _Config = None,
    directory: _Directory = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete data sets for good, after asking twice."""
    from dimse_ingestion.commands import spool

    def confirm(question: str) -> bool:
        return yes or typer.confirm(question)

    _act(
        lambda console: spool.drop(spool.spool_directory(config, directory), ids, confirm, console)
    )


def main() -> None:
    """Entry point of the `dimse-ingestion` command."""
    app()


def _run(service: Callable[[], Awaitable[int]], *, logs: bool = True) -> None:
    """Run a coroutine to its end; `logs`: it writes JSON lines to standard error."""
    with errors_as_sentences():
        _warn_of_unknown_variables(logs=logs)
        from dimse_ingestion.observability.event_loop import run

        status = run(_run_coroutine(service))
    raise typer.Exit(status)


def _warn_of_unknown_variables(*, logs: bool) -> None:
    from dimse_ingestion.observability import logging
    from dimse_ingestion.settings.unknown_variables import unknown_variables

    if logs:
        logging.configure("settings")
    for sentence in unknown_variables(os.environ):
        if logs:
            logging.logger(__name__).warning("A variable is ignored.", reason=sentence)
        else:
            typer.echo(f"warning: {sentence}", err=True)


async def _run_coroutine(service: Callable[[], Awaitable[int]]) -> int:
    return await service()


def _act(command: Callable[["Console"], int]) -> None:
    """Run a command that prints to the terminal."""
    from rich.console import Console

    with errors_as_sentences():
        status = command(Console())
    raise typer.Exit(status)
