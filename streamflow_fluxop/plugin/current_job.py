"""The job for which StreamFlow calls a connector: its inputs, and what its tool says. Connectors are told neither."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from streamflow.cwl.command import CWLCommand

if TYPE_CHECKING:
    from streamflow.core.workflow import Job
    from streamflow.cwl.processor import CWLCommandOutput


class CurrentJob(NamedTuple):
    """A job that StreamFlow executes, and the command that it executes."""

    command: CWLCommand
    job: Job


_current: ContextVar[CurrentJob | None] = ContextVar("streamflow_fluxop_job", default=None)


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
