"""From a StreamFlow file to the problems of its fleets, with every check that `streamflow run` makes of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.containers.engines import PROGRAMS
from streamflow_fluxop.cwl import BoundWorkflow, StreamFlowFile, read_streamflow_file
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.grouping import group_steps, usual_flavours
from streamflow_fluxop.model import Dependency, Problem, Step, Workflow
from streamflow_fluxop.reuse.results import Scope
from streamflow_fluxop.sources.deployments import Fleets, require_fleets, steps_of
from streamflow_fluxop.sources.past_runs import PastRuns
from streamflow_fluxop.sources.reusable import without_reusable
from streamflow_fluxop.sources.source import Source


def read_streamflow(
    path: str,
    *,
    deployment: str | None = None,
    workflow: str | None = None,
    history: Path | None = None,
    no_history: bool = False,
    javascript: bool = True,
    web: bool = False,
) -> list[Source]:
    """One problem a fleet: all workflows of the file that use it, one after the other, as they run.

    Args:
        path: of the StreamFlow file.
        deployment: name of the only fleet that counts; None: all that have steps.
        workflow: name of the only workflow that counts; None: all.
        history: a folder of event logs, or StreamFlow's database, either of which then wins over hints; None: this
            user's event logs, and the database where StreamFlow keeps it, as far as they are there.
        no_history: do not look at past runs.
        javascript: whether to evaluate JavaScript, if the file lets us.
        web: whether to read documents on the web; what the file says of that counts for runs only.

    Raises:
        UserError: the file, its CWL or its inputs can't be read, or there is no such fleet or workflow.
        UserErrors: every mistake in fleets, bindings and steps, each with its place.
    """
    file = read_streamflow_file(path)
    fleets = Fleets(file, javascript=javascript, web=web)
    require_fleets(file)
    if deployment is not None and deployment not in file.fleets:
        raise UserError(
            f"there is no fleet {deployment!r}",
            where=file.where("deployments"),
            fix=f"The deployments of type minicluster are: {', '.join(file.fleets)}.",
        )
    _stop_at(fleets.check_deployments())
    names = [file.workflow(workflow).name] if workflow is not None else list(file.workflows)
    if not names:
        raise UserError("no CWL workflow", where=file.where("workflows"), fix="Give one `type: cwl`.")
    bound = [fleets.read(name, all_given=True) for name in names]
    _stop_at([*(error for b in bound for error in fleets.check_bindings(b)), *fleets.check_steps(bound)])
    chosen = {n: c for n, c in fleets.configs.items() if deployment in (None, n)}
    sources = []
    for name, config in chosen.items():
        if own := [b for b in bound if b.steps_of(name)]:
            sources.append(source_of(file, name, config, own, history=history, no_history=no_history))
    if not sources:
        raise UserError(
            f"no step is bound to {' or '.join(chosen)}",
            where=file.where("workflows", names[0], "bindings"),
            fix=f"Bind them: `bindings: [{{step: /, target: {{deployment: {next(iter(chosen))}}}}}]`.",
        )
    return sources


def source_of(
    file: StreamFlowFile,
    deployment: str,
    config: FleetConfig,
    workflows: list[BoundWorkflow],
    *,
    history: Path | None = None,
    no_history: bool = False,
    results: Scope | None = None,
) -> Source:
    """The problem of one fleet.

    Args:
        file: as it was read.
        deployment: name of the fleet.
        config: of the fleet.
        workflows: those that use it, at least one, in the file's order: each begins when the one before is over.
        history: as in `read_streamflow`; None: what the fleet's options say.
        no_history: do not look at past runs.
        results: whose results count where the fleet uses those of past runs; None: those of the file's runs.

    Raises:
        UserErrors: a step that no flavour or group suits.
    """
    path = file.path or "the StreamFlow file"
    said = config.plan.history
    if history is None and isinstance(said, str):
        history = Path(path).parent / said
    past = None if no_history or (said is False and history is None) else PastRuns(file, config, history)
    parts = []
    for b in workflows:
        steps, places = steps_of(deployment, config, [b])
        late = {s.name for s in b.cwl.steps.values() if s.run_time_needs}
        source = _source(f"{b.cwl.name} on {deployment}", b.cwl.name, path, steps, places, config, late)
        parts.append(past.durations(source, b.cwl, file.workflow(b.cwl.name).file) if past else source)
    whole = parts[0] if len(parts) == 1 else _one_after_the_other(parts, deployment)
    if config.reusing.enabled:
        whole = without_reusable(whole, results or Scope(file=os.path.abspath(path)))
    return past.flavours(whole) if past else whole


def _one_after_the_other(parts: list[Source], deployment: str) -> Source:
    """One problem of several workflows; the names of the steps begin with their workflow's, as `steps_of` has them."""
    steps: list[Step] = []
    places: dict[str, str | None] = {}
    last: list[Step] = []
    for part in parts:
        prefix, own = part.problem.workflow.name, []
        for s in part.problem.workflow.steps:
            after = [Dependency(step=prefix + d.step, each=d.each) for d in s.after]
            own.append(s.model_copy(update={"name": prefix + s.name, "after": after}))
            places[prefix + s.name] = part.place(s.name)
        waited_for = {d.step for s in last for d in s.after}
        ends = [Dependency(step=s.name) for s in last if s.name not in waited_for]
        steps += [s if s.after else s.model_copy(update={"after": ends}) for s in own]
        last = own
    names = ", ".join(p.problem.workflow.name for p in parts)
    problem = parts[0].problem.model_copy(update={"workflow": Workflow(name=names, steps=steps)})
    notes = tuple(dict.fromkeys(note for p in parts for note in p.notes))
    return replace(parts[0], title=f"{names} on {deployment}", problem=problem, place=places.get, notes=notes)


def _stop_at(errors: Iterable[UserError]) -> None:
    if found := list({str(e): e for e in errors}.values()):
        raise UserErrors(found)


def _source(
    title: str,
    workflow: str,
    path: str,
    steps: list[Step],
    places: Mapping[str, str],
    config: FleetConfig,
    late: set[str],
) -> Source:
    group_steps(steps, config, places)  # refuses what no flavour or group suits, in the words of `streamflow run`
    return Source(
        title=title,
        problem=Problem(
            workflow=Workflow(name=workflow, steps=[_as_bound(s, config, known=s.name not in late) for s in steps]),
            flavours=config.flavours,
            limits=config.limits,
        ),
        file=os.fspath(path),
        place=places.get,
        notes=(*_sizes(config), *_containers(steps, config)),
        kubernetes=config.kubernetes,
        options=config.plan,
    )


def _as_bound(step: Step, config: FleetConfig, *, known: bool) -> Step:
    """The step with what its binding's service means: a flavour, or a group with a flavour and an image of its own.

    If its needs are known before the run, it goes to no node with GPUs for nothing.
    """
    if step.controller:
        return step.model_copy(update={"binding": ""})
    if step.binding in config.flavours:
        return step.model_copy(update={"binding": "", "flavours": [step.binding], **config.images(step)})
    group = step.group or step.binding or None
    update: dict[str, object] = {"binding": "", "group": group, **config.images(step, group)}
    if known and group is None and not step.flavours and usual_flavours(step.needs, config) != list(config.flavours):
        update["flavours"] = usual_flavours(step.needs, config)
    if group in config.groups:
        defined = config.groups[group]
        update["flavours"] = [defined.flavour]
    return step.model_copy(update=update)


def _containers(steps: list[Step], config: FleetConfig) -> Iterable[str]:
    """What runs in which image, and that there may be nothing to run them."""
    images: dict[str, list[str]] = {}
    for step in steps:
        if step.container is not None and not step.skipped:
            images.setdefault(step.container, []).append(step.name)
    if not images:
        return
    if config.containers == "none":
        yield f"containers: none, so {len(images)} images are not used"
    elif config.cluster == "local" and not any(map(shutil.which, PROGRAMS.values())):
        yield "no container engine is on the PATH: commands of steps with an image would run as they are here"
    for image, names in images.items():
        more = f" and {len(names) - 3} more" if len(names) > 4 else ""
        yield f"container {image}: {', '.join(names if not more else names[:3])}{more}"


def _sizes(config: FleetConfig) -> Iterable[str]:
    for name, group in config.groups.items():
        if group.size is not None:
            nodes = "1 node" if group.size == 1 else f"{group.size} nodes"
            yield f"group {name}: the plan chooses its size; the file says {nodes}"
