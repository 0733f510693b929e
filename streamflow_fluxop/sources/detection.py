"""Finds out what a file is, and has the right module read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop.collector import paused
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Problem, Workflow
from streamflow_fluxop.sources.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.sources.own_documents import Flavours
    from streamflow_fluxop.sources.yaml_files import Loaded


@paused()
def read(
    file: Path | None = None,
    *,
    workflow: Path | None = None,
    flavours: Path | None = None,
    deployment: str | None = None,
    workflow_name: str | None = None,
    history: Path | None = None,
    no_history: bool = False,
    javascript: bool = True,
    web: bool = False,
    agree: Callable[[str], bool] | None = None,
) -> list[Source]:
    """What to plan for.

    Args:
        file: a StreamFlow file; or else
        workflow: a workflow from any tool, or a problem of ours; with
        flavours: flavours and limits, which a problem may do without.
        deployment: only this fleet.
        workflow_name: only this workflow of the StreamFlow file.
        history: StreamFlow's database; None: the one that StreamFlow would write to, if it is there.
        no_history: do not look at past runs.
        javascript: whether to evaluate JavaScript.
        web: whether to read documents on the web.
        agree: is asked before a workflow that is a program is run; None: agreed.

    Returns:
        One a fleet and workflow; at least one.

    Raises:
        UserError: something can't be read or is wrong, with its place and what would be right.
    """
    if (file is None) == (workflow is None):
        raise UserError(
            "nothing to plan" if file is None else f"both a StreamFlow file ({file}) and --workflow {workflow}",
            fix="Give a StreamFlow file, or --workflow with --flavours.",
        )
    if file is not None:
        if flavours is not None:
            raise UserError("--flavours goes with --workflow", fix=f"The flavours of {file} are its fleets'.")
        from streamflow_fluxop.sources.streamflow import read_streamflow

        return read_streamflow(
            str(file),
            deployment=deployment,
            workflow=workflow_name,
            history=history,
            no_history=no_history,
            javascript=javascript,
            web=web,
        )
    assert workflow is not None
    source = _from_any_tool(workflow, flavours, deployment, agree)
    return [source if history is None or no_history else _with_history(source, history)]


def _with_history(source: Source, database: Path) -> Source:
    """The durations of past runs of steps with the same names."""
    from streamflow_fluxop.sources.history import read_history, with_history

    steps, jobs = with_history(source.problem.workflow.steps, read_history(database), wins=True)
    return source.with_steps(steps, f"past runs: {jobs} jobs in {database} of steps with the same names")


def _from_any_tool(
    path: Path, flavours: Path | None, deployment: str | None, agree: Callable[[str], bool] | None
) -> Source:
    from streamflow_fluxop.sources import own_documents, snakemake, wfformat
    from streamflow_fluxop.sources.yaml_files import load

    if snakemake.is_snakefile(path):
        kinds = _kinds(path, flavours, deployment)  # first: a dry run takes seconds
        snakemake.check_agreed(path, agree)
        workflow, notes = snakemake.read_snakefile(path)
        return _with(kinds, workflow, path, lambda step: f"{path}: {step}", tuple(notes))
    loaded = load(path)
    if wfformat.is_trace(loaded.data):
        kinds = _kinds(path, flavours, deployment)
        workflow, notes = wfformat.workflow_of(loaded)
        return _with(kinds, workflow, path, lambda step: f"{path}: task {step}", tuple(notes))
    if own_documents.is_problem(loaded):
        problem = own_documents.problem_of(loaded)
        if flavours is not None:
            kinds = own_documents.read_flavours(flavours, deployment)
            problem = problem.model_copy(update={"flavours": kinds.flavours, "limits": kinds.limits})
        return Source(problem.workflow.name, problem, str(path), _places(loaded, "workflow", "steps"))
    if own_documents.is_plan(loaded):
        raise UserError(
            "is a plan, no workflow",
            where=str(path),
            fix=f"`fluxop verify {path}` checks it. To plan anew, give the workflow that it was made for; "
            "it also stands under the plan's key `problem`, which is a document that --workflow takes.",
        )
    if "steps" in loaded.data:
        kinds = _kinds(path, flavours, deployment)
        return _with(kinds, own_documents.workflow_of(loaded), path, _places(loaded, "steps"))
    raise UserError(
        "is no workflow that we can read",
        where=str(path),
        fix="It may be a document of ours (docs/workflow-document.md), a WfCommons trace (WfFormat), or a Snakefile.",
    )


def _kinds(path: Path, flavours: Path | None, deployment: str | None) -> Flavours:
    from streamflow_fluxop.sources.own_documents import read_flavours

    if flavours is None:
        raise UserError(
            "on which nodes?", where=str(path), fix="Say it with --flavours: a file with flavours and limits."
        )
    return read_flavours(flavours, deployment)


def _with(
    kinds: Flavours,
    workflow: Workflow,
    path: Path,
    place: Callable[[str], str | None],
    notes: tuple[str, ...] = (),
) -> Source:
    problem = Problem(workflow=workflow, flavours=kinds.flavours, limits=kinds.limits)
    return Source(workflow.name, problem, str(path), place, notes)


def _places(loaded: Loaded, *keys: str) -> Callable[[str], str | None]:
    def place(step: str) -> str | None:
        entries = loaded.data
        for key in keys:
            entries = entries[key]
        found = [i for i, entry in enumerate(entries) if entry.get("name") == step]
        return loaded.where(*keys, found[-1]) if found else None

    return place
