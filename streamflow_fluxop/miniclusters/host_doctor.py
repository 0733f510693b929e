"""Whether a machine, this one or one behind SSH, has what the steps of a workflow need."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from streamflow_fluxop.containers import Image
from streamflow_fluxop.containers.detect import PROBE, choose, read_probe
from streamflow_fluxop.containers.store import is_there
from streamflow_fluxop.miniclusters.base import Cluster, ClusterError
from streamflow_fluxop.miniclusters.finding import Finding

_PROBE_TIME = 150.0
_SHORT = 30.0


@dataclass(frozen=True)
class Wanted:
    """What a workflow wants of the machine.

    Args:
        scheduler: `scheduler` of the fleet.
        containers: `containers` of the fleet.
        images: of its steps' containers, each with the steps.
        programs: that steps run as they are, each with the steps: those without an image.
        programs_in_images: of steps with an image, likewise.
    """

    scheduler: str
    containers: str
    images: Mapping[Image, Collection[str]]
    programs: Mapping[str, Collection[str]]
    programs_in_images: Mapping[str, Collection[str]]


async def examine(cluster: Cluster, wanted: Wanted) -> AsyncIterator[Finding]:
    """Look at the machine; nothing is changed there.

    Args:
        cluster: of the machine.
        wanted: what to look for.
    """
    try:
        _, text = await cluster.shell("flux version 2>/dev/null | sed -n 's/^libflux-core: *//p'", _SHORT)
    except ClusterError as error:
        yield Finding("fail", str(error))
        return
    if text.strip():
        yield Finding("ok", f"Flux {text.strip()} is on the PATH")
    elif wanted.scheduler == "flux":
        yield Finding("fail", "there is no `flux` on the PATH", "Install flux-core, or write `scheduler: auto`.")
    else:
        yield Finding("ok", "there is no `flux` on the PATH: the embedded scheduler takes its place")
    native = dict(wanted.programs)
    async for finding in _containers(cluster, wanted, native):
        yield finding
    async for finding in _programs(cluster, native):
        yield finding


async def _containers(cluster: Cluster, wanted: Wanted, native: dict[str, Collection[str]]) -> AsyncIterator[Finding]:
    if wanted.containers == "none":
        if wanted.images:
            yield Finding("warn", f"`containers: none`: commands of {_names(wanted)} run as they are")
        native |= wanted.programs_in_images
        return
    _, text = await cluster.shell(PROBE, _PROBE_TIME)
    working, broken = read_probe(text)
    engine = choose(working, wanted.containers)
    for name, why in broken.items():
        level: Literal["fail", "warn"] = "fail" if name == wanted.containers and wanted.images else "warn"
        yield Finding(level, f"{name} is there, but does not work: {why}")
    if engine is None:
        native |= wanted.programs_in_images
        if not wanted.images:
            yield Finding("ok", "no container engine works, and no step has an image")
        elif wanted.containers == "auto":
            yield Finding(
                "warn",
                f"no container engine works: commands of {_names(wanted)} run as they are",
                "Install apptainer, or podman.",
            )
        elif wanted.containers not in broken:
            yield Finding("fail", f"there is no {wanted.containers} on the PATH", "Install it, or name another.")
        return
    yield Finding("ok", f"containers are run by {engine.name} {engine.version}")
    for image, steps in wanted.images.items():
        code, _ = await cluster.shell(is_there(engine, image), _SHORT)
        there = "is there" if code == 0 else f"is not there yet: the run gets it ({image.source})"
        yield Finding("ok", f"image {image.name} of {', '.join(steps)} {there}")


def _names(wanted: Wanted) -> str:
    return ", ".join(step for steps in wanted.images.values() for step in steps)


async def _programs(cluster: Cluster, programs: Mapping[str, Collection[str]]) -> AsyncIterator[Finding]:
    """Which programs are not on the PATH."""
    if not programs:
        return
    look = "; ".join(f"command -v {shlex.quote(p)} >/dev/null || echo {shlex.quote(p)}" for p in programs)
    _, text = await cluster.shell(look, _SHORT)
    missing = set(text.splitlines())
    for program, steps in programs.items():
        if program in missing:
            yield Finding(
                "warn",
                f"there is no {program} on the PATH, which {', '.join(steps)} run{'s' * (len(steps) == 1)}",
                "Install it, or give the step an image (DockerRequirement).",
            )
    if not missing:
        yield Finding("ok", f"the programs of steps that run as they are, are on the PATH: {', '.join(programs)}")
