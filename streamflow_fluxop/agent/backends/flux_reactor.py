"""Flux's reactor in a thread of its own, through flux-core's Python bindings; no command of Flux's is run for a job.

Two queues lead to and fro: into the thread with a byte in a pipe that the reactor watches, out of it with
`call_soon_threadsafe`; both are drained in batches. One streaming RPC, ``job-manager.events-journal`` (what
``flux.job.journal.JournalConsumer`` of newer versions uses), brings the events of all jobs; it is the instance owner's
to ask, which an agent is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backends.backend import KILL_AFTER
from streamflow_fluxop.agent.backends.flux_eventlog import job_output, shell_words
from streamflow_fluxop.agent.backends.jobspec import label_of
from streamflow_fluxop.agent.system.log import log, log_exception

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OUTPUTS_AT_ONCE = 8  # each may have 2 MiB, see `jobspec.KVS_OUTPUT`
_EVENTS = {"start": 1, "exception": 1, "finish": 1, "clean": 1}  # of RFC 21, those that we want


class Reactor:
    """The thread and its handle. Methods without an underscore are the event loop's, the others the thread's.

    Args:
        heard: is told of a job, an event and its context: "recovered", "start", "end".
        broken: is told when the connection to Flux is lost, and why.
        session: whose jobs these are; they carry it.
        recover: jobs of the session that another agent may have submitted.
    """

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
        """Start the thread.

        Returns:
            Flux's version, its nodes, cores and GPUs; `largest`: cores and GPUs of a node; `fluxion`: whether that
            schedules, or Flux's default scheduler.

        Raises:
            OSError: Flux does not answer.
        """
        ready: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="flux", daemon=True)
        self._thread.start()
        return await ready

    def submit(self, job: str, spec: str) -> None:
        """Submit a job, with its jobspec (RFC 14) as JSON."""
        self._do(lambda: self._submit(job, spec))

    def cancel(self, job: str) -> None:
        """Cancel a job, if it is still there."""
        self._do(lambda: self._cancel(job))

    def kill(self, job: str) -> None:
        """Send SIGKILL to a job, if it runs."""
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
        """End the thread."""
        self._do(lambda: self._handle.reactor_stop())
        self._thread.join(timeout=5)

    def _do(self, function: Callable[[], None]) -> None:
        self._todo.append(function)
        if len(self._todo) == 1:  # asked afterwards: the thread may have taken all others meanwhile
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
                "fluxion": _answers(handle, "sched-fluxion-qmanager"),
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
        if label.get("session") == self._session and isinstance(job, str) and job in self._recover:
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
        end = self._ends[number]
        try:
            output, used = job_output(future.get()["guest.output"])
        except OSError as error:
            if "exception" not in end:
                log(f"no output of job {number}: {error}")
            begun = False
        else:
            begun = True
            end.update(output=output.kept, dropped=-1 if output.dropped else 0, used=used)
        if end["status"] and not end.get("output") and "exception" not in end:
            payload = {"id": number, "keys": ["guest.exec.eventlog"], "flags": 0}
            self._handle.rpc("job-info.lookup", payload).then(self._explained, (number, begun))
        else:
            self._fetched_all(number)

    def _explained(self, future: Any, asked: tuple[int, bool]) -> None:
        """What the execution system says of a job that failed without a word, such as of a shell without a library."""
        number, begun = asked
        try:
            said = shell_words(future.get()["guest.exec.eventlog"])
        except OSError as error:
            log(f"no execution log of job {number}: {error}")
            said = ""
        if begun:
            self._ends[number]["output"] = f"{said}\n".encode("utf-8", "replace") if said else b""
        else:
            note = f"Flux's shell did not start: {said or 'Flux does not say why'}"
            self._ends[number]["exception"] = {"type": "exec", "note": note}
        self._fetched_all(number)

    def _fetched_all(self, number: int) -> None:
        self._ended(number)
        self._fetching -= 1
        if self._fetches:
            self._fetch(self._fetches.popleft())

    def _ended(self, number: int) -> None:
        job = self._names.pop(number)
        del self._ids[job]
        self._cancelled.discard(job)
        self._tell(job, "end", self._ends.pop(number))


def _answers(handle: Any, module: str) -> bool:
    """Whether a broker module is loaded: each answers to `ping` (flux-ping(1))."""
    try:
        handle.rpc(f"{module}.ping", {"seq": 0, "pad": ""}).get()
    except OSError:
        return False
    return True


def _ignore_failure(future: Any) -> None:
    try:
        future.get()
    except OSError as error:  # it has ended meanwhile
        log(f"cancel: {error}")
