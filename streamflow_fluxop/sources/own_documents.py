"""Our own documents: a workflow, flavours with limits, a problem (both in one), a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from streamflow_fluxop.collector import paused
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Document, Flavour, Limits, Plan, Problem, Workflow
from streamflow_fluxop.sources.yaml_files import Loaded, load


class Flavours(Document):
    """The kinds of nodes, and what may be held of them together: a file of its own, beside a workflow."""

    flavours: Annotated[dict[str, Flavour], Field(min_length=1, description="The kinds of nodes, by name.")]
    limits: Limits = Field(default_factory=Limits, description="What the MiniClusters may hold at any moment.")


@paused()
def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        UserError: it can't be read, or is no plan; with places and remedies.
    """
    loaded = load(path)
    if not is_plan(loaded):
        raise UserError(
            "is no plan: it has no MiniClusters", where=str(path), fix="`fluxop plan … -o plan.json` writes one."
        )
    return loaded.check(Plan)


def read_flavours(path: Path, deployment: str | None = None) -> Flavours:
    """Read flavours and limits.

    Args:
        path: of a file with `flavours` and `limits`, or of a StreamFlow file that has a fleet.
        deployment: name of the fleet, where the file has several.

    Raises:
        UserError: it can't be read, or says something else; with places and remedies.
    """
    loaded = load(path)
    if "deployments" in loaded.data:
        return _of_fleet(path, deployment)
    return loaded.check(Flavours)


def _of_fleet(path: Path, deployment: str | None) -> Flavours:
    from streamflow_fluxop.cwl import read_streamflow_file
    from streamflow_fluxop.errors import UserErrors
    from streamflow_fluxop.sources.deployments import Fleets

    fleets = Fleets(read_streamflow_file(path))
    if errors := list(fleets.check_deployments()):
        raise UserErrors(errors)
    there = ", ".join(fleets.configs) or "none"
    if deployment is None and len(fleets.configs) == 1:
        deployment = next(iter(fleets.configs))
    if deployment not in fleets.configs:
        raise UserError(
            f"there is no fleet {deployment!r}" if deployment else f"{len(fleets.configs)} fleets",
            where=str(path),
            fix=f"Name one with --deployment; the deployments of type minicluster are: {there}.",
        )
    config = fleets.configs[deployment]
    return Flavours(flavours=config.flavours, limits=config.limits)


def is_plan(loaded: Loaded) -> bool:
    """Whether a document is a plan."""
    return "miniclusters" in loaded.data


def is_problem(loaded: Loaded) -> bool:
    """Whether a document is a problem: workflow and flavours in one."""
    return "workflow" in loaded.data and "flavours" in loaded.data


def problem_of(loaded: Loaded) -> Problem:
    """The problem that a document is.

    Raises:
        UserErrors: every mistake in it.
    """
    return loaded.check(Problem)


def workflow_of(loaded: Loaded) -> Workflow:
    """The workflow that a document is.

    Raises:
        UserErrors: every mistake in it.
    """
    return loaded.check(Workflow)
