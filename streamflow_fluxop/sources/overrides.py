"""Puts what a fleet says of single steps (`steps`) over what the workflow says, and checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.config.steps import StepConfig, concerns, of_step
from streamflow_fluxop.cwl import BoundWorkflow
from streamflow_fluxop.cwl.graph import CWLStep
from streamflow_fluxop.cwl.hint import FluxRequirement
from streamflow_fluxop.cwl.resource_needs import ResourceRequest
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Duration

Where = Callable[..., str]
"""The place of a key under a fleet's `steps`."""

_HINTS = {"nodes": "nodes", "tasks": "tasks", "exclusive": "exclusive", "flavour": "flavour", "group": "group"}
_TOLD = {"cores": "coresPerTask", "gpus": "gpusPerTask"}


def overridden(bound: BoundWorkflow, configs: Mapping[str, FleetConfig], where: Mapping[str, Where]) -> BoundWorkflow:
    """The workflow with what the fleets say of its steps.

    Args:
        bound: as it was read.
        configs: the fleets, by name.
        where: for each fleet, the places of what it says.
    """
    steps = dict(bound.cwl.steps)
    for name, config in configs.items():
        if config.steps:
            for step in bound.steps_of(name).values():
                told, keys = of_step(config.steps, step.name)
                if keys:
                    steps[step.name] = _overridden(step, told, {k: where[name](key, k) for k, key in keys.items()})
    for step in list(steps.values()):  # job waits for job only where both have as many
        after = tuple(replace(d, each=False) if d.each and steps[d.step].jobs != step.jobs else d for d in step.after)
        steps[step.name] = replace(steps[step.name], after=after)
    return replace(bound, cwl=replace(bound.cwl, steps=steps))


def check(
    bound: Iterable[BoundWorkflow], name: str, config: FleetConfig, where: Where, *, complete: bool = True
) -> Iterator[UserError]:
    """Check what a fleet says of steps against the steps and flavours that there are.

    Args:
        bound: the workflows that were read.
        name: of the fleet.
        config: of the fleet.
        where: the place of a key.
        complete: whether these are all workflows of the file; else a key may be about another one.
    """
    steps = [step for b in bound for step in b.steps_of(name)]
    known = sorted({str(path) for step in steps for path in (step, *PurePosixPath(step).parents)} - {"/"} | set(steps))
    for key, told in config.steps.items():
        if complete and not any(concerns(key, step) for step in steps):
            close = get_close_matches(key, known, n=1)
            fix = f"Did you mean {close[0]}? " if close else ""
            yield UserError(
                f"there is no step {key}", where=where(key), fix=f"{fix}The steps are: {', '.join(known) or 'none'}."
            )
        for flavour in told.flavours:
            if flavour not in config.flavours:
                close = get_close_matches(flavour, config.flavours, n=1)
                fix = f"Did you mean {close[0]}? " if close else ""
                yield UserError(
                    f"no flavour {flavour!r}",
                    where=where(key, "flavour"),
                    fix=f"{fix}The flavours are: {', '.join(config.flavours)}.",
                )
        if told.nodes and told.tasks and told.tasks < told.nodes:
            yield UserError(
                f"{told.tasks} tasks can't reach {told.nodes} nodes",
                where=where(key, "tasks"),
                fix="Give at least as many tasks as nodes.",
            )


def _overridden(step: CWLStep, told: StepConfig, places: Mapping[str, str]) -> CWLStep:
    asked = _asked(step.asked, told, places)
    jobs, source = step.jobs, step.jobs_source
    if told.width is not None and source in ("assumed", "hint") and jobs:
        jobs, source = told.width, "hint"
    return replace(step, asked=asked, jobs=jobs, jobs_source=source, duration=_duration(step, asked, told))


def _asked(asked: ResourceRequest, told: StepConfig, places: Mapping[str, str]) -> ResourceRequest:
    hint: dict[str, Any] = asked.hint.said()
    hint |= {_HINTS[name]: value for name in _HINTS if (value := getattr(told, name)) is not None}
    plain: dict[str, Any] = {}
    said = dict(asked.said)
    for name in ("cores", "memory", "gpus"):
        if (value := getattr(told, name)) is not None:
            plain[name] = value
            hint.pop(_TOLD.get(name, ""), None)
            said.pop(_TOLD.get(name, ""), None)
    if hint.get("nodes") and hint.get("tasks") and hint["tasks"] < hint["nodes"]:
        hint.pop("tasks" if told.tasks is None else "nodes")  # what the workflow says suits no more
    late = asked.at_run_time - plain.keys()
    if told.tasks is not None:
        late -= {"processes"}
    return replace(
        asked,
        **plain,
        hint=FluxRequirement.model_construct(_fields_set=set(hint), **hint),
        at_run_time=frozenset(late),
        said={**said, **places},
    )


def _duration(step: CWLStep, asked: ResourceRequest, told: StepConfig) -> Duration:
    if told.duration is None:
        spread = step.duration.spread if told.spread is None else told.spread
        return step.duration.model_copy(update={"spread": spread})
    seconds = told.duration if asked.time_limit is None else min(told.duration, asked.time_limit)
    return Duration(seconds=seconds, spread=told.spread or 0.0, source="steps")
