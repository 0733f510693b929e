"""Flux as the scheduler, through flux-core's Python bindings; no command of Flux's is run for a job.

Flux's reactor runs in a thread with a handle of its own. Two queues lead to and fro: into the thread with a byte in a
pipe that the reactor watches, out of it with `call_soon_threadsafe`; both are drained in batches. One streaming RPC,
``job-manager.events-journal`` (what ``flux.job.journal.JournalConsumer`` of newer versions uses), brings the events of
all jobs; it is the instance owner's to ask, which an agent is.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import uuid
from base64 import b64decode
from collections import deque
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backend import (
    CANCELLED_EXIT_CODE,
    KILL_AFTER,
    TIME_LIMIT_EXIT_CODE,
    Backend,
    Listener,
    Outcome,
    exit_code_of,
)
from streamflow_fluxop.agent.jobspec import NotForFlux, base_environment, jobspec, label_of
from streamflow_fluxop.agent.log import log, log_exception
from streamflow_fluxop.agent.output import Tail
from streamflow_fluxop.agent.placement import nodes_wanted
from streamflow_fluxop.agent.processes import MARK, is_in_job, send_signal, to_bytes, with_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streamflow_fluxop.agent.protocol import JobRequest

_OUTPUTS_AT_ONCE = 8  # each may have 2 MiB, see `jobspec.KVS_OUTPUT`
_LOG_ERROR = 3  # of flux-shell's levels
_EVENTS = {"start": 1, "exception": 1, "finish": 1, "clean": 1}  # of RFC 21, those that we want


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
        self._gone = asyncio.Event()
        self._gone.set()

    async def start(self, listener: Listener) -> dict[str, Any]:
        """See `Backend.start`.

        Raises:
            OSError: Flux does not answer.
        """
        self._listener = listener
        self._reactor = _Reactor(self._heard, listener.broken, self._session, self._recover)
        about = await self._reactor.start()
        self._largest: tuple[int, int] = about.pop("largest")
        return {"backend": "flux", "recovers": bool(self._session), **about}

    def submit(self, job: str, request: JobRequest) -> None:
        """See `Backend.submit`."""
        try:
            _check_paths(request)
            spec = jobspec(
                request,
                nodes=nodes_wanted(request, self._largest),
                environment={**self._environment, **request.environment},
                shell_options=self._shell_options,
                label={"session": self._session, "job": job} if self._session else None,
            )
        except (NotForFlux, OSError) as error:
            self._listener.finished(job, Outcome(1, f"cannot start: {_reason(error)}"))
            return
        self._jobs[job] = _Job(request.time_limit)
        self._gone.clear()
        self._reactor.submit(job, spec)

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
            self._jobs[job] = _Job(context["time_limit"] or None)
            self._gone.clear()
            self._listener.recovered(job)
            return
        known = self._jobs.get(job)
        if known is None:
            return
        if event == "start":
            self._listener.started(job)
        else:
            del self._jobs[job]
            if not self._jobs:
                self._gone.set()
            self._listener.finished(job, known.outcome(context))


class _Job:
    def __init__(self, time_limit: float | None) -> None:
        self._time_limit = time_limit

    def outcome(self, end: Mapping[str, Any]) -> Outcome:
        """Translate what Flux says, see `_Reactor._ended`."""
        status, exception = end.get("status"), end.get("exception")
        exit_code = 1 if status is None else exit_code_of(status)
        reason = None
        if exception is not None:
            kind, note = exception["type"], exception.get("note", "")
            if kind == "timeout" and self._time_limit is not None:
                exit_code, reason = TIME_LIMIT_EXIT_CODE, f"time limit of {self._time_limit:.10g} s exceeded"
            elif kind == "cancel":
                exit_code, reason = CANCELLED_EXIT_CODE, "cancelled"
            else:
                exit_code, reason = exit_code or 1, note or kind
        return Outcome(exit_code, reason, end.get("output", b""), end.get("dropped", 0))


class _Reactor:
    """The thread. Methods without an underscore are the event loop's, the others the thread's."""

    def __init__(
        self,
        heard: Callable[[str, str, Mapping[str, Any]], None],
        broken: Callable[[str], None],
        session: str,
        recover: frozenset[str],
    ) -> None:
        self._session = session
        self._recover = recover
        self._identity = uuid.uuid4().hex
        self._heard = heard
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._todo: deque[Callable[[], None]] = deque()
        self._news: deque[tuple[str, str, Mapping[str, Any]]] = deque()
        self._telling = False
        self._lock = threading.Lock()  # of `_telling`
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._ids: dict[str, int | None] = {}  # ours to Flux's; None: not known yet
        self._submitting = 0  # jobs without an id yet
        self._names: dict[int, str] = {}
        self._ends: dict[int, dict[str, Any]] = {}
        self._early: dict[int, list[Mapping[str, Any]]] = {}  # events that came before the id of their job
        self._cancelled: set[str] = set()
        self.dead = False
        self._fetches: deque[int] = deque()
        self._fetching = 0

    # ------------------------------------------------------------------------------------------------- the event loop

    async def start(self) -> dict[str, Any]:
        ready: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="flux", daemon=True)
        self._thread.start()
        return await ready

    def submit(self, job: str, spec: str) -> None:
        self._do(lambda: self._submit(job, spec))

    def cancel(self, job: str) -> None:
        self._do(lambda: self._cancel(job))

    def kill(self, job: str) -> None:
        self._do(lambda: self._kill(job))

    async def leave(self) -> bool:
        """Whether the session is still ours, which it then is no more."""
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._do(lambda: self._leave(answer))
        try:
            return await asyncio.wait_for(answer, KILL_AFTER)
        except asyncio.TimeoutError:
            return True  # Flux does not answer: whoever has the jobs has lost them

    def stop(self) -> None:
        self._do(lambda: self._handle.reactor_stop())
        self._thread.join(timeout=5)

    def _do(self, function: Callable[[], None]) -> None:
        first = not self._todo
        self._todo.append(function)
        if first:
            os.write(self._wake_in, b"x")

    def _hear(self) -> None:
        with self._lock:
            self._telling = False
            news, self._news = self._news, deque()
        for job, event, context in news:
            self._heard(job, event, context)

    # ----------------------------------------------------------------------------------------------------- the thread

    def _tell(self, job: str, event: str, context: Mapping[str, Any]) -> None:
        with self._lock:
            self._news.append((job, event, context))
            if self._telling:
                return
            self._telling = True
        self._loop.call_soon_threadsafe(self._hear)

    def _run(self, ready: asyncio.Future[dict[str, Any]]) -> None:
        try:
            import flux
            import flux.job
            import flux.kvs
            from flux.constants import FLUX_POLLIN, FLUX_RPC_STREAMING
            from flux.core.watchers import FDWatcher
            from flux.resource import resource_list

            self._flux = flux
            self._handle = handle = flux.Flux()
            resources = resource_list(handle).get().all
            about = {
                "version": handle.attr_get("version"),
                "nodes": int(resources.nnodes),
                "cores": int(resources.ncores),
                "gpus": int(resources.ngpus),
                "largest": (int(resources.ncores) // max(1, int(resources.nnodes)),
                            int(resources.ngpus) // max(1, int(resources.nnodes))),
            }  # fmt: skip
            if self._session:
                self._own()
            self._caught_up = None if not self._recover else lambda: ready.set_result(about)
            # with `full`, jobs that are over come, too
            self._journal = handle.rpc(
                "job-manager.events-journal", {"full": bool(self._recover), "allow": _EVENTS}, 0, FLUX_RPC_STREAMING
            )
            self._journal.then(self._journalled)
            watcher = FDWatcher(handle, self._wake_out, FLUX_POLLIN, self._woken)
            watcher.start()
        except BaseException as error:
            self._loop.call_soon_threadsafe(ready.set_exception, OSError(f"no Flux instance: {error}"))
            return
        if not self._recover:
            self._loop.call_soon_threadsafe(ready.set_result, about)
        try:
            handle.reactor_run()
        except BaseException as error:
            log_exception()
            self.dead = True
            self._loop.call_soon_threadsafe(self._broken, f"lost the connection to Flux: {error}")

    def _woken(self, *_: Any) -> None:
        os.read(self._wake_out, 4096)
        while self._todo:
            self._todo.popleft()()

    def _submit(self, job: str, spec: str) -> None:
        self._ids[job] = None
        self._submitting += 1
        # We made the jobspec: Flux need not start Python to validate it.
        future = self._flux.job.submit_async(self._handle, spec, novalidate=True)
        future.then(self._submitted, job)

    def _submitted(self, future: Any, job: str) -> None:
        self._submitting -= 1
        try:
            number = int(self._flux.job.submit_get_id(future))
        except OSError as error:
            del self._ids[job]
            self._tell(job, "end", {"exception": {"type": "submit", "note": f"{error.strerror}"}})
            return
        self._ids[job] = number
        self._names[number] = job
        if job in self._cancelled:
            self._cancel(job)
        for event in self._early.pop(number, ()):
            self._happened(number, event)
        if not self._submitting:
            self._early.clear()  # of other people's jobs

    def _cancel(self, job: str) -> None:
        number = self._ids.get(job, 0)
        if number is None:
            self._cancelled.add(job)
        elif number:
            self._flux.job.cancel_async(self._handle, number).then(_ignore_failure)

    def _kill(self, job: str) -> None:
        number = self._ids.get(job)
        if number:
            self._flux.job.kill_async(self._handle, number, signal.SIGKILL).then(_ignore_failure)

    def _journalled(self, future: Any) -> None:
        response = future.get()
        number = response.get("id", -1)
        if self._caught_up is not None:
            if number == -1 and not response["events"]:
                self._loop.call_soon_threadsafe(self._caught_up)
                self._caught_up = None
            else:
                self._found(number, response.get("jobspec", {}))
        for event in response["events"]:
            self._happened(int(event.get("id", number)), event)
        future.reset()

    def _found(self, number: int, spec: Mapping[str, Any]) -> None:
        """A job that was there before us: ours, if an agent of our session submitted it."""
        label = label_of(spec)
        job = label.get("job", "")
        if label.get("session") == self._session and job in self._recover:
            self._ids[job] = number
            self._names[number] = job
            self._tell(job, "recovered", {"time_limit": spec["attributes"]["system"].get("duration", 0)})

    def _own(self) -> None:
        """Write in Flux's KVS which agent has the session's jobs: on another host one may still be waiting."""
        self._flux.kvs.put(self._handle, f"fluxop.{self._session}", self._identity)
        self._flux.kvs.commit(self._handle)

    def _leave(self, answer: asyncio.Future[bool]) -> None:
        ours = True
        try:
            ours = self._flux.kvs.get(self._handle, f"fluxop.{self._session}") == self._identity
            if ours:
                self._flux.kvs.put_unlink(self._handle, f"fluxop.{self._session}")
                self._flux.kvs.commit(self._handle)
        except OSError as error:
            log(f"no KVS: {error}")
        self._loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(ours))

    def _happened(self, number: int, event: Mapping[str, Any]) -> None:
        job = self._names.get(number)
        if job is None:
            if self._submitting:
                self._early.setdefault(number, []).append(event)
            return
        name, context = event["name"], event.get("context", {})
        end = self._ends.setdefault(number, {})
        if name == "start":
            self._tell(job, "start", {})
        elif name == "exception":
            if context["severity"] == 0:
                end.setdefault("exception", context)  # the first one is the cause
        elif name == "finish":
            end["status"] = context["status"]
            self._fetch(number)
        elif name == "clean" and "status" not in end:
            self._ended(number)  # it never started

    def _fetch(self, number: int) -> None:
        """Ask for the job's output (RFC 24: the eventlog `guest.output`)."""
        if self._fetching >= _OUTPUTS_AT_ONCE:
            self._fetches.append(number)
            return
        self._fetching += 1
        payload = {"id": number, "keys": ["guest.output"], "flags": 0}
        self._handle.rpc("job-info.lookup", payload).then(self._fetched, number)

    def _fetched(self, future: Any, number: int) -> None:
        try:
            events = future.get()["guest.output"]
        except OSError as error:
            if number in self._ends and "exception" not in self._ends[number]:
                log(f"no output of job {number}: {error}")
        else:
            output = _output(events)
            self._ends[number].update(output=output.kept, dropped=-1 if output.dropped else 0)
        self._ended(number)
        self._fetching -= 1
        if self._fetches:
            self._fetch(self._fetches.popleft())

    def _ended(self, number: int) -> None:
        job = self._names.pop(number)
        del self._ids[job]
        self._cancelled.discard(job)
        self._tell(job, "end", self._ends.pop(number))


def _output(events: str) -> Tail:
    """The output in an eventlog of RFC 24, and what Flux's shell has to say about it."""
    output = Tail()
    for line in events.splitlines():
        entry = json.loads(line)
        context = entry["context"]
        if entry["name"] == "data" and "data" in context:
            data = context["data"]
            raw = b64decode(data) if context.get("encoding") == "base64" else data.encode("utf-8", "surrogateescape")
            output.add(raw * context.get("repeat", 1))
        elif entry["name"] == "log" and (context.get("level", 9) <= _LOG_ERROR or "truncated" in context["message"]):
            output.add(f"flux-shell[{context.get('rank', 0)}]: {context['message']}\n".encode("utf-8", "replace"))
    return output


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


def _ignore_failure(future: Any) -> None:
    try:
        future.get()
    except OSError as error:  # it has ended meanwhile
        log(f"cancel: {error}")
