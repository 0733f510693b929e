"""What a user is told of a job that failed: what it said, how it ended, and where to look."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from streamflow_fluxop.report.units import how_it_ended

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest, JobResult

_LONGEST_COMMAND = 500
"""Characters of a command that are shown; StreamFlow's log has all of it."""


def account(result: JobResult, request: JobRequest, minicluster: str, image: str | None = None) -> str:
    """The error text of a failed job, some lines; StreamFlow names the job itself.

    Args:
        result: of the job.
        request: what was to run.
        minicluster: where it ran.
        image: of the container that it ran in, if it did.
    """
    here = request.cwd or ""
    files = [os.path.join(here, p) for p in dict.fromkeys((request.stdout, request.stderr)) if p and p != os.devnull]
    container = f", in a container of {image}" if image else ""
    lines = [
        result.reason,
        result.output.strip() or (None if request.stderr else "(it wrote nothing on standard error)"),
        f"{how_it_ended(result.exit_code, result.reason)}, in MiniCluster {minicluster}{container}",
        f"command: {_shortened(shlex.join(request.argv))}",
        f"directory: {here}" if here else None,
        *(f"what it wrote: {path}" for path in files),
    ]
    return "\n\t".join(filter(None, lines))


def _shortened(command: str) -> str:
    return command if len(command) <= _LONGEST_COMMAND else f"{command[:_LONGEST_COMMAND]}…"
