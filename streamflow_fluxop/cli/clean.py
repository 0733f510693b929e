"""`fluxop clean`: lists, then removes the MiniClusters that runs left behind in Kubernetes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from streamflow_fluxop.cli import kubernetes
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.config.kubernetes import KubernetesConfig
    from streamflow_fluxop.miniclusters.kubernetes.leftovers import Leftover

FAILED = 1
"""Exit code where something could not be removed."""


def clean(
    run: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--run", metavar="ID", help="Of this run only.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them without asking.")] = False,
    kubeconfig: kubernetes.Kubeconfig = None,
    context: kubernetes.Context = None,
    namespace: kubernetes.NamespaceName = None,
) -> None:
    """List the MiniClusters that runs have made in a namespace, and remove them.

    Only what carries this package's labels is looked at, and what belongs to runs that are still going on this machine
    stays, unless --run names one. A run that goes on elsewhere cannot be told from one that has ended: name the one to
    clean up after by --run. Without --yes it asks, and where nobody can answer it removes nothing.
    """
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.config.kubernetes import KubernetesConfig

    config = KubernetesConfig(kubeconfig=kubeconfig, context=context, namespace=namespace)
    out = Output()
    try:
        found = asyncio.run(_find(config, run))
    except UserError as error:
        raise UserError(
            error.what, fix="Nothing else has to be cleaned: what runs on this machine ends by itself."
        ) from None
    if run is None:
        going = sorted(_going() & {item.run for item in found})
        found = [item for item in found if item.run not in going]
        for name in going:
            out.line(f"run {name} is still going: its MiniClusters stay")
    if not found:
        out.line(f"nothing is left of run {run}" if run else "nothing is left")
        return
    _show(out, found)
    if not (yes or _agreed(found)):
        out.line("nothing was removed; --yes removes them")
        return
    problems = asyncio.run(_remove(config, found))
    for problem in problems:
        typer.echo(printable(problem), err=True)
    out.line(f"{len(found) - len(problems)} removed")
    if problems:
        raise typer.Exit(FAILED)


def _going() -> set[str]:
    """The ids of the runs whose controllers are alive on this machine."""
    from streamflow_fluxop.events.reading import running_logs

    return {path.stem for path in running_logs()}


async def _find(config: KubernetesConfig, run: str | None) -> list[Leftover]:
    from streamflow_fluxop.miniclusters.kubernetes import leftovers

    async with kubernetes.connected(config) as api:
        return await leftovers.find(api, run=run)


async def _remove(config: KubernetesConfig, found: Sequence[Leftover]) -> list[str]:
    from streamflow_fluxop.miniclusters.kubernetes import leftovers

    async with kubernetes.connected(config) as api:
        return await leftovers.remove(api, found)


def _show(out: Output, found: Sequence[Leftover]) -> None:
    from rich.table import Table

    from streamflow_fluxop.report.units import duration

    table = Table(box=None, pad_edge=False)
    for title in ("MiniCluster", "run", "fleet", "owner", "nodes", "age", ""):
        table.add_column(title, justify="right" if title in ("nodes", "age") else "left")
    for item in found:
        nodes = f"{item.size} {item.flavour}".rstrip()
        going = "is being deleted" if item.going else ""
        table.add_row(item.name, item.run, item.deployment, item.owner, nodes, duration(item.age), going)
    out.show(table)


def _agreed(found: Sequence[Leftover]) -> bool:
    import sys

    from streamflow_fluxop.miniclusters.kubernetes.leftovers import runs_of

    if not sys.stdin.isatty():
        return False
    runs = runs_of(found)
    what = f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs"
    return typer.confirm(f"Remove these {len(found)} MiniClusters of {what}?")
