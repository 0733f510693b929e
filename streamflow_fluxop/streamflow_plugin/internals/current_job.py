"""The job for which StreamFlow calls a connector: its inputs, what its tool says, and whether its outputs were found.

Connectors are told none of it.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from streamflow.core.workflow import Status
from streamflow.cwl.command import CWLCommand
from streamflow.workflow.step import ExecuteStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow.core.workflow import Job
    from streamflow.cwl.processor import CWLCommandOutput


class CurrentJob(NamedTuple):
    """A job that StreamFlow executes, and the command that it executes."""

    command: CWLCommand
    job: Job


_current: ContextVar[CurrentJob | None] = ContextVar("streamflow_fluxop_job", default=None)


_if_it_fails: ContextVar[list[Callable[[], None]] | None] = ContextVar("streamflow_fluxop_if_it_fails", default=None)


def if_it_fails(call: Callable[[], None]) -> None:
    """Call something if the current job fails after its command: its outputs are not there, or of another kind."""
    calls = _if_it_fails.get()
    if calls is not None:
        calls.append(call)


def current_job() -> CurrentJob | None:
    """The job that the current task executes; None: nobody knows."""
    return _current.get()


def tell_current_job() -> None:
    """Let `current_job` know, from now on; a second call changes nothing."""
    if hasattr(CWLCommand.execute, "__wrapped__"):
        return
    execute: Any = CWLCommand.execute

    @functools.wraps(execute)
    async def wrapper(self: CWLCommand, job: Job) -> CWLCommandOutput:
        token = _current.set(CurrentJob(self, job))
        try:
            return await execute(self, job)
        finally:
            _current.reset(token)

    CWLCommand.execute = wrapper
    run_job: Any = ExecuteStep._run_job

    @functools.wraps(run_job)
    async def run(self: ExecuteStep, job: Job, *arguments: Any, **more: Any) -> Status:
        calls: list[Callable[[], None]] = []
        token = _if_it_fails.set(calls)  # the tasks that it starts inherit the list
        try:
            status: Status = await run_job(self, job, *arguments, **more)
        finally:
            _if_it_fails.reset(token)
        if status is Status.FAILED:
            for call in calls:
                call()
        return status

    ExecuteStep._run_job = run
