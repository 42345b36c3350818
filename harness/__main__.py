"""`python -m harness up | down | status | e2e`: a cluster to play with, and what belongs to it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import cluster, end_to_end, playground, registries
from harness.airgap import engine
from harness.commands import Unusable
from harness.commands import print_line as say

commands = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

Name = Annotated[str, typer.Option(help="What the cluster is called.")]

ADDRESSES = {"NATS": 30422, "MinIO": 30900, "DICOMweb": playground.NODE_PORT}
"""What kind-config.yaml lets in from this machine beside the tests' own, by its node port."""


@commands.command()
def up(
    name: Name = cluster.NAME,
    bare: Annotated[bool, typer.Option(help="Install nothing in the cluster.")] = False,
) -> None:
    """Create the cluster, unless it exists, with a storage space in it, and print how to use it."""
    made = cluster.create(name, say=say)
    lines = [] if bare else playground.install(made, say).usage()
    _print_summary(made)
    for line in lines:
        say(line)


@commands.command()
def down(name: Name = cluster.NAME) -> None:
    """Delete the cluster, and stop Docker's engine if the harness started it."""
    end_to_end.ended(say, name)


@commands.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def e2e(
    context: typer.Context,
    kubeconfig: Annotated[Path | None, typer.Option(help="Of a cluster that exists.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the cluster after the tests.")] = False,
) -> None:
    """Run the end-to-end tests; further arguments are pytest's."""
    raise typer.Exit(end_to_end.run(kubeconfig, keep, context.args, say))


@commands.command()
def status(name: Name = cluster.NAME) -> None:
    """Print the state of the cluster; the exit status is 1 when there is none."""
    say(f"image registries are {'' if registries.reached() else 'not '}reached")
    say(f"Docker {'answers' if engine.running() else 'does not answer'}")
    if not cluster.answers(name):
        say(f"no cluster {name}: python -m harness up")
        raise typer.Exit(1)
    _print_summary(cluster.Cluster(name, cluster.kubeconfig_of(name)))


def _print_summary(made: cluster.Cluster) -> None:
    for line in addresses(
        made.kubeconfig, {each: made.outside(ADDRESSES[each]) for each in ADDRESSES}
    ):
        say(line)


def addresses(kubeconfig: Path, outside: dict[str, tuple[str, int]]) -> list[str]:
    """Return how to use the cluster, a line each."""
    lines = [f"  {name:<12} {host}:{port}" for name, (host, port) in outside.items()]
    return [
        f"export KUBECONFIG={kubeconfig}",
        "reached from here, once they are installed:",
        *lines,
    ]


def main() -> int:
    """Run a command; what can't be done here is a sentence and the exit status 1."""
    try:
        commands()
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
