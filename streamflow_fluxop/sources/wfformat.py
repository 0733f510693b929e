"""WfCommons' WfFormat: traces of real runs of Pegasus, Nextflow, Makeflow and others (https://wfcommons.org/format).

Version 1.5 keeps what a task is (`specification`) apart from how it ran (`execution`); up to 1.4 a task has both.
Traces have many fields; only those that a plan needs are read and checked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from math import ceil
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, NonNegativeFloat

from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Dependency, Duration, Needs, Step, Workflow
from streamflow_fluxop.sources.yaml_files import Loaded

ASSUMED_DURATION = 60.0
"""Seconds of a task whose run time the trace does not have."""

_MIB = 2**20


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Execution(_Part):
    id: str | None = Field(None, description="Give each task an id.")
    runtime: NonNegativeFloat | None = Field(None, validation_alias=AliasChoices("runtimeInSeconds", "runtime"))
    cores: NonNegativeFloat | None = Field(None, validation_alias=AliasChoices("coreCount", "cores"))
    memory: NonNegativeFloat | None = Field(None, validation_alias=AliasChoices("memoryInBytes", "memory"))


class _Task(_Execution):
    name: str = Field(min_length=1, description="Give each task a name.")
    parents: list[str] = []
    children: list[str] = []

    @property
    def key(self) -> str:
        return self.id or self.name


class _Tasks(_Part):
    tasks: list[_Task] = Field(description="List the workflow's tasks.")


class _Executions(_Part):
    tasks: list[_Execution] = []


class _New(_Part):
    specification: _Tasks
    execution: _Executions = _Executions()


def is_trace(data: dict[str, Any]) -> bool:
    """Whether a document is a WfCommons trace."""
    workflow = data.get("workflow")
    return isinstance(workflow, dict) and "schemaVersion" in data and bool(workflow.keys() & {"specification", "tasks"})


def workflow_of(loaded: Loaded) -> tuple[Workflow, list[str]]:
    """The workflow that a trace recorded, a step for each task; and what had to be assumed.

    Raises:
        UserErrors: what a plan needs is missing or wrong, with its place.
    """
    if "specification" in loaded.data["workflow"]:
        new = loaded.check(_New, "workflow")
        tasks, ran, keys = new.specification.tasks, new.execution.tasks, ["workflow", "specification", "tasks"]
    else:
        tasks, ran, keys = loaded.check(_Tasks, "workflow").tasks, [], ["workflow", "tasks"]
    _check_unique(tasks, loaded, keys)
    executions = {e.id: e for e in ran if e.id is not None}
    names = _names(tasks)
    parents = _parents(tasks, loaded, keys)
    steps = [_step(t, executions.get(t.key, t), names, parents[t.key]) for t in tasks]
    assumed = sum(s.duration.source == "assumed" for s in steps)
    notes = [f"{assumed} of {len(steps)} tasks have no run time in the trace: {ASSUMED_DURATION:g} s are assumed"]
    return Workflow(name=str(loaded.data.get("name") or "trace"), steps=steps), notes if assumed else []


def _step(task: _Task, ran: _Execution, names: dict[str, str], parents: list[str]) -> Step:
    known = ran.runtime is not None
    return Step(
        name=names[task.key],
        needs=Needs(cores_per_task=max(1, ceil(ran.cores or 1)), memory=ceil((ran.memory or 0) / _MIB)),
        duration=Duration(
            seconds=ran.runtime or 0.0 if known else ASSUMED_DURATION, source="document" if known else "assumed"
        ),
        after=[Dependency(step=names[p]) for p in parents],
    )


def _names(tasks: list[_Task]) -> dict[str, str]:
    """Each task's name where it is the only one that has it, else its id."""
    count = Counter(t.name for t in tasks)
    return {t.key: t.name if count[t.name] == 1 else t.key for t in tasks}


def _parents(tasks: list[_Task], loaded: Loaded, keys: list[str]) -> dict[str, list[str]]:
    """Every task's parents, by id; traces name them by id or by name, and some say only the children."""
    known = {t.name: t.key for t in tasks} | {t.key: t.key for t in tasks}
    found: dict[str, dict[str, None]] = defaultdict(dict)
    errors = []
    for index, task in enumerate(tasks):
        for word, others in (("parents", task.parents), ("children", task.children)):
            for other in others:
                if other not in known:
                    errors.append(UserError(f"{other} is no task of the trace", where=loaded.where(*keys, index, word)))
                elif word == "parents":
                    found[task.key][known[other]] = None
                else:
                    found[known[other]][task.key] = None
    if errors:
        raise UserErrors(errors)
    return {t.key: list(found[t.key]) for t in tasks}


def _check_unique(tasks: list[_Task], loaded: Loaded, keys: list[str]) -> None:
    seen: set[str] = set()
    for index, task in enumerate(tasks):
        if task.key in seen:
            raise UserError(
                f"two tasks are called {task.key}", where=loaded.where(*keys, index), fix="Give each an id of its own."
            )
        seen.add(task.key)
