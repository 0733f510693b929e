"""`fluxop doctor`: whether the cluster or machine that a StreamFlow file names has what its fleets need."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamflow_fluxop.cli import options
from streamflow_fluxop.errors import UserErrors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streamflow_fluxop.config.fleet import FleetConfig
    from streamflow_fluxop.miniclusters.finding import Finding
    from streamflow_fluxop.miniclusters.host_doctor import Wanted
    from streamflow_fluxop.miniclusters.kubernetes.doctor import Planned
    from streamflow_fluxop.sources.deployments import Fleets

ILL = 1
"""Exit code where a run cannot work."""

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    file: Annotated[Path, typer.Argument(metavar="STREAMFLOW_FILE", help="The StreamFlow file.")],
    no_javascript: options.NoJavaScript = False,
    web: options.Web = False,
) -> None:
    """Check a cluster for a workflow: reachable, operator, rights, MiniClusters (dry run), volumes, nodes, images.

    Where cluster is local or ssh: Flux, the container engine, images, programs of steps without one. Nothing is made
    there. Exit code 1: something fails; warnings do not count.
    """
    from streamflow_fluxop.cli.output import Output
    from streamflow_fluxop.cwl import read_streamflow_file
    from streamflow_fluxop.sources.deployments import Fleets, require_fleets

    streamflow_file = read_streamflow_file(file)
    require_fleets(streamflow_file)
    fleets = Fleets(streamflow_file, javascript=not no_javascript, web=web)
    if errors := list(fleets.check_deployments()):
        raise UserErrors(errors)
    out = Output()
    ill = False
    for name, config in fleets.configs.items():
        out.line(name, style="bold")
        if config.cluster == "kubernetes":
            found = asyncio.run(_examine(config, _planned(fleets, streamflow_file.workflows, name)))
        else:
            found = asyncio.run(_examine_host(config, _wanted(fleets, streamflow_file.workflows, name)))
        for finding in found:
            out.line(f"{finding.level:5} {finding.what}", style=_STYLES[finding.level])
            if finding.fix:
                out.line(f"      {finding.fix}")
            ill = ill or finding.level == "fail"
    if ill:
        raise typer.Exit(ILL)


def _planned(fleets: Fleets, workflows: Iterable[str], deployment: str) -> list[Planned]:
    """The MiniClusters that a run would make, one a group."""
    from streamflow_fluxop.grouping import group_steps
    from streamflow_fluxop.miniclusters.kubernetes.doctor import Planned
    from streamflow_fluxop.sources.deployments import steps_of

    bound = [fleets.read(name) for name in workflows]
    config = fleets.configs[deployment]
    steps, places = steps_of(deployment, config, [b for b in bound if b.steps_of(deployment)])
    groups = group_steps(steps, config, places)
    return [Planned(g.name, g.flavour, g.size, g.image) for g in groups]


def _wanted(fleets: Fleets, workflows: Iterable[str], deployment: str) -> Wanted:
    """What the steps of a fleet want of the machine that they run on."""
    from streamflow_fluxop.containers import Image
    from streamflow_fluxop.miniclusters.host_doctor import Wanted

    config = fleets.configs[deployment]
    images: dict[Image, list[str]] = {}
    programs: dict[str, list[str]] = {}
    in_images: dict[str, list[str]] = {}
    for step in (s for name in workflows for s in fleets.read(name).steps_of(deployment).values()):
        if step.controller:
            continue
        container = config.container(step.asked.container, step.step())
        if container is not None:
            images.setdefault(container.image, []).append(step.name)
        if step.program is not None:
            (programs if container is None else in_images).setdefault(step.program, []).append(step.name)
    return Wanted(config.scheduler, config.containers, images, programs, in_images)


async def _examine_host(config: FleetConfig, wanted: Wanted) -> list[Finding]:
    from streamflow_fluxop.miniclusters.host_doctor import examine
    from streamflow_fluxop.miniclusters.local import LocalCluster
    from streamflow_fluxop.miniclusters.ssh.minicluster import SSHCluster

    cluster = LocalCluster() if config.ssh is None else SSHCluster(config.ssh)
    try:
        return [finding async for finding in examine(cluster, wanted)]
    finally:
        await cluster.close()


async def _examine(config: FleetConfig, planned: Sequence[Planned]) -> list[Finding]:
    from streamflow_fluxop.cli.kubernetes import connected
    from streamflow_fluxop.miniclusters.kubernetes.doctor import examine

    async with connected(config.kubernetes) as api:
        return [finding async for finding in examine(api, config.kubernetes, config.flavours, planned)]
