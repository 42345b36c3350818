"""The command line: pick a door, load its settings, run it. A door is imported only when picked.

Not a place for defaults (see `settings`) or for work: each command hands over in a line or two.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A hospital's images into the cloud: DIMSE proxy, ingestion service and catalogue.",
)

_WRONG_CONFIGURATION = 2
_REGISTRY = "https://registry.npmjs.org"
_Config = Annotated[
    Path | None, typer.Option(help="proxy.yaml: the settings as keys; the environment wins.")
]


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Keep bucket, catalogue and log here instead of nowhere.")
    ] = None,
) -> None:
    """Send real images through the whole system, look them up again, prove that all arrived."""
    from dimse_ingestion.demo.telling import tell

    raise typer.Exit(tell(data))


@app.command()
def standalone(
    data: Annotated[Path, typer.Option(help="bucket/, catalogue.db and spool/.")] = Path(
        "dimse-data"
    ),
    dimse_port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")] = 11112,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="DICOMweb's and the page's; 0 = any free one.")
    ] = 8080,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    ae_title: Annotated[str, typer.Option(help="Called AE title.")] = "DICOM-INGEST",
    provider: Annotated[str, typer.Option(help="The storage space's provider name.")] = "provider",
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
    """Run everything on this machine: NATS, proxy, ingestion, DICOMweb, catalogue, a folder."""
    from dimse_ingestion.standalone.running import Standalone, run

    asked = Standalone(
        data=data,
        dimse_port=dimse_port,
        http_port=http_port,
        host=host,
        ae_title=ae_title,
        provider=provider,
        viewer=(viewer_registry or _REGISTRY) if viewer else "",
    )
    _run(lambda: run(asked))


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
    """Run the event sink and query side."""
    from dimse_ingestion.catalogue.app import migrate, run
    from dimse_ingestion.settings import CatalogueSettings

    async def door() -> int:
        settings = CatalogueSettings.load()
        return migrate(settings) if migrate_only else await run(settings)

    _run(door)


@app.command()
def operator() -> None:
    """Make releases of a cluster's custom resources (needs the extra `operator`)."""
    from dimse_ingestion.operator.app import run
    from dimse_ingestion.settings import OperatorSettings

    _run(lambda: run(OperatorSettings.load()))


@app.command()
def check(
    door: Annotated[str, typer.Argument(help="proxy, ingestion, dicomweb or catalogue.")],
    config: _Config = None,
) -> None:
    """Say what is wrong with a door's configuration, one line for each thing looked at."""
    from dimse_ingestion.checking import run

    _run(lambda: run(door, config))


@app.command()
def prove(
    config: _Config = None,
    to: Annotated[
        str, typer.Option(help="HOST:PORT of a proxy that runs; else one of its own is opened.")
    ] = "",
    called: Annotated[str, typer.Option(help="AE title of that proxy.")] = "DICOM-INGEST",
    calling: Annotated[str, typer.Option(help="AE title to come with.")] = "DIMSE-PROVE",
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds an own proxy's echo may take to go all the way.")
    ] = 60.0,
) -> None:
    """Store a test instance and find it again; its own proxy is configured as `proxy` is."""
    from dimse_ingestion.proving import address_of, run, run_at

    _run(lambda: run_at(address_of(to), called, calling) if to else run(config, wait))


@app.command()
def reindex(
    parallel: Annotated[int, typer.Option(min=1, help="Objects read at once.")] = 8,
) -> None:
    """Rebuild the catalogue from the bucket alone; configured like the ingestion service."""
    from dimse_ingestion.reindexing import run
    from dimse_ingestion.settings import IngestionSettings

    _run(lambda: run(IngestionSettings.load(), parallel=parallel))


def main() -> None:
    """Entry point of the `dimse-ingestion` command."""
    app()


def _run(door: Callable[[], Awaitable[int]]) -> None:
    """Run a door to its end; a wrong configuration ends with status 2 and its sentences."""
    from dimse_ingestion.settings import ConfigurationMistake

    try:
        status = asyncio.run(_awaited(door))
    except ConfigurationMistake as mistake:
        for sentence in mistake.sentences:
            typer.echo(sentence, err=True)
        raise typer.Exit(_WRONG_CONFIGURATION) from None
    raise typer.Exit(status)


async def _awaited(door: Callable[[], Awaitable[int]]) -> int:
    return await door()
