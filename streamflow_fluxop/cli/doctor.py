"""`fluxop doctor`: whether the Kubernetes cluster that a StreamFlow file names has what its fleets need."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow_fluxop.cli import options
from streamflow_fluxop.errors import UserErrors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamflow_fluxop.config import FleetConfig
    from streamflow_fluxop.fleets import Fleets
    from streamflow_fluxop.miniclusters.kubernetes.doctor import Finding, Planned

ILL = 1
"""Exit code where a run cannot work."""

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    file: Annotated[Path, typer.Argument(metavar="STREAMFLOW_FILE", help="The StreamFlow file.")],
    no_javascript: options.NoJavaScript = False,
    web: options.Web = False,
) -> None:
    """Check a cluster for a workflow: reachable, operator, rights, MiniClusters (dry run), volumes, nodes, images.

    Nothing is made there. Exit code 1: something fails; warnings do not count.
    """
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.cwl import read_streamflow_file
    from streamflow_fluxop.fleets import Fleets, require_fleets

    streamflow_file = read_streamflow_file(file)
    require_fleets(streamflow_file)
    fleets = Fleets(streamflow_file, javascript=not no_javascript, web=web)
    if errors := list(fleets.check_deployments()):
        raise UserErrors(errors)
    out = Output()
    ill = False
    for name, config in fleets.configs.items():
        if config.cluster != "kubernetes":
            where = "this machine" if config.ssh is None else config.ssh.host
            out.line(f"{name}: its MiniClusters run on {where}; there is no Kubernetes to look at")
            continue
        out.line(name, style="bold")
        for finding in asyncio.run(_examine(config, _planned(fleets, streamflow_file.workflows, name))):
            out.line(f"{finding.level:5} {finding.what}", style=_STYLES[finding.level])
            if finding.fix:
                out.line(f"      {finding.fix}")
            ill = ill or finding.level == "fail"
    if ill:
        raise typer.Exit(ILL)


def _planned(fleets: Fleets, workflows: Iterable[str], deployment: str) -> list[Planned]:
    """The MiniClusters that a run would make, one a group."""
    from streamflow_fluxop.fleets import steps_of
    from streamflow_fluxop.grouping import group_steps
    from streamflow_fluxop.miniclusters.kubernetes.doctor import Planned

    bound = [fleets.read(name) for name in workflows]
    config = fleets.configs[deployment]
    steps, places = steps_of(deployment, config, [b for b in bound if b.steps_of(deployment)])
    groups = group_steps(steps, config, places)
    return [Planned(g.name, g.flavour, g.size, g.image) for g in groups]


async def _examine(config: FleetConfig, planned: Sequence[Planned]) -> list[Finding]:
    from streamflow_fluxop.cli.kubernetes import connected
    from streamflow_fluxop.miniclusters.kubernetes.doctor import examine

    async with connected(config.kubernetes) as api:
        return [finding async for finding in examine(api, config.kubernetes, config.flavours, planned)]
