"""Flux as the scheduler."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backends.backend import (
    CANCELLED_EXIT_CODE,
    KILL_AFTER,
    TIME_LIMIT_EXIT_CODE,
    Backend,
    JobOutcome,
    Listener,
    exit_code_of,
)
from streamflow_fluxop.agent.backends.flux_reactor import Reactor
from streamflow_fluxop.agent.backends.jobspec import NotForFlux, base_environment, jobspec
from streamflow_fluxop.agent.backends.measuring import Kinds, can_be_measured, kind_of, total
from streamflow_fluxop.agent.backends.node_allocation import NodeAllocator, Unsatisfiable, nodes_wanted
from streamflow_fluxop.agent.system.log import log
from streamflow_fluxop.agent.system.processes import MARK, is_in_job, send_signal, to_bytes, with_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streamflow_fluxop.agent.wire.protocol import JobRequest

FLUXION_REFUSES = 'alloc denied due to type="unsatisfiable"'


def flux_is_here() -> bool:
    """Whether Flux's bindings are here, and an instance is named for them."""
    if "FLUX_URI" not in os.environ:
        return False
    try:
        import flux  # noqa: F401
    except ImportError as error:
        log(f"FLUX_URI is set, but Flux's Python bindings are missing: {error}")
        return False
    return True


class FluxBackend(Backend):
    """Runs jobs in the Flux instance that FLUX_URI names.

    Args:
        options: ``shell``: options of Flux's shell for every job, such as ``{"cpu-affinity": "off"}``.
        session: of the client; its jobs carry it, so that another agent finds them.
        recover: jobs that another agent of the session may have submitted.
    """

    def __init__(self, options: Mapping[str, Any], session: str = "", recover: Iterable[str] = ()) -> None:
        self._session = session
        self._recover = frozenset(recover)
        self._shell_options = options.get("shell", {})
        self._environment = base_environment()
        self._jobs: dict[str, _Job] = {}
        self._kinds = Kinds()
        self._gone = asyncio.Event()
        self._gone.set()

    async def start(self, listener: Listener) -> dict[str, Any]:
        """See `Backend.start`.

        Raises:
            OSError: Flux does not answer.
        """
        self._listener = listener
        self._reactor = Reactor(self._heard, listener.broken, self._session, self._recover)
        about = await self._reactor.start()
        self._largest: tuple[int, int] = about.pop("largest")
        self._nodes = NodeAllocator([self._largest] * about["nodes"])
        self._at_once: int = about["cores"]
        self._fluxion: bool = about.pop("fluxion")
        if self._fluxion:
            about["version"] += " with Fluxion"
        return {"backend": "flux", "recovers": bool(self._session), **about}

    def submit(self, job: str, request: JobRequest) -> None:
        """See `Backend.submit`."""
        kind, measure = kind_of(request), False
        try:
            _check_paths(request)
            measure = can_be_measured(request) and self._kinds.wanted(kind, self._at_once)
            spec = jobspec(
                request,
                nodes=nodes_wanted(request, self._largest),
                environment={**self._environment, **request.environment},
                shell_options=self._shell_options,
                label={"session": self._session, "job": job} if self._session else None,
                whole_seconds=self._fluxion,
                measure=measure,
            )
        except (NotForFlux, OSError) as error:
            self._kinds.ended(kind, None, measured=measure)
            self._listener.finished(job, JobOutcome(1, f"cannot start: {_reason(error)}"))
            return
        self._jobs[job] = _Job(request.time_limit, lambda: self._refusal(request), request.tasks, kind, measure)
        self._gone.clear()
        self._reactor.submit(job, spec)

    def _refusal(self, request: JobRequest) -> str:
        """Why the nodes cannot hold a job, which Fluxion does not say; empty where more than their sizes matters."""
        try:
            self._nodes.check(request)
        except Unsatisfiable as error:
            return str(error)
        return ""

    def cancel(self, job: str) -> None:
        """See `Backend.cancel`."""
        if job in self._jobs:
            self._reactor.cancel(job)

    async def close(self) -> None:
        """See `Backend.close`; another agent of the session that has the jobs now may keep them."""
        if not self._reactor.dead and self._session and not await self._reactor.leave():
            self._reactor.stop()
            return
        if not self._reactor.dead and not await self._all_gone(self._reactor.cancel, 1.0):
            self._kill_daemons()
            await self._all_gone(self._reactor.kill, KILL_AFTER)
        self._reactor.stop()
        self._kill_daemons()

    async def _all_gone(self, end: Callable[[str], None], seconds: float) -> bool:
        for job in self._jobs:
            end(job)
        try:
            await asyncio.wait_for(self._gone.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    @staticmethod
    def _kill_daemons() -> None:
        """Kill what has left its job's process group, which is all that Flux signals; on one machine only."""
        if MARK in os.environb:
            ours = with_environment(MARK + b"=" + os.environb[MARK])
            send_signal((pid for pid in ours if is_in_job(pid)), signal.SIGKILL)

    def _heard(self, job: str, event: str, context: Mapping[str, Any]) -> None:
        if event == "recovered":
            self._jobs[job] = _Job(context["time_limit"] or None, lambda: "")
            self._gone.clear()
            self._listener.recovered(job)
            return
        known = self._jobs.get(job)
        if known is None:
            return
        if event == "start":
            known.started = time.monotonic()
            self._listener.started(job)
        else:
            self._ended(known, context)
            del self._jobs[job]
            if not self._jobs:
                self._gone.set()
            self._listener.finished(job, known.outcome(context))

    def _ended(self, job: _Job, end: Mapping[str, Any]) -> None:
        took = None if job.started is None else time.monotonic() - job.started
        if used := end.get("used"):
            took = max(u.elapsed for u in used) / 1000
        self._kinds.ended(job.kind, took, measured=job.measured)


class _Job:
    def __init__(
        self,
        time_limit: float | None,
        refusal: Callable[[], str],
        tasks: int = 0,
        kind: str = "",
        measured: bool = False,
    ) -> None:
        self.kind = kind
        self.measured = measured
        self.started: float | None = None
        self._tasks = tasks
        self._time_limit = time_limit
        self._refusal = refusal

    def outcome(self, end: Mapping[str, Any]) -> JobOutcome:
        """Translate what Flux says, see `Reactor._ended`."""
        status, exception = end.get("status"), end.get("exception")
        exit_code = 1 if status is None else exit_code_of(status)
        reason = None
        if exception is not None:
            kind, note = exception["type"], exception.get("note", "")
            if kind == "timeout" and self._time_limit is not None:
                exit_code, reason = TIME_LIMIT_EXIT_CODE, f"time limit of {self._time_limit:.10g} s exceeded"
            elif kind == "cancel":
                exit_code, reason = CANCELLED_EXIT_CODE, "cancelled"
            elif kind == "alloc" and note == FLUXION_REFUSES:
                exit_code, reason = exit_code or 1, self._refusal() or f"unsatisfiable request: {note}"
            else:
                exit_code, reason = exit_code or 1, note or kind
        used = total(end.get("used", ()), self._tasks)
        return JobOutcome(exit_code, reason, end.get("output", b""), end.get("dropped", 0), **used)


def _check_paths(request: JobRequest) -> None:
    """Flux would run a job whose directory is missing in /tmp instead."""
    cwd = to_bytes(request.cwd) if request.cwd is not None else b"."
    os.close(os.open(cwd, os.O_RDONLY | os.O_DIRECTORY))
    if request.stdin is not None:
        os.stat(os.path.join(cwd, to_bytes(request.stdin)))
    for path in (request.stdout, request.stderr):
        if path is not None:
            os.stat(os.path.dirname(os.path.join(cwd, to_bytes(path))))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename!r}: {error.strerror}"
    return str(error)
