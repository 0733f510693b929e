"""The embedded scheduler: Flux's rules on one machine, for trying out, examples and tests.

First come, first served: a job that does not fit now holds up those behind it. Nodes, cores and GPUs are counted, not
enforced: every task is a process on this machine, whatever its nodes are.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
from collections import deque
from collections.abc import Sequence
from typing import Any

from streamflow_fluxop.agent.backends.backend import (
    CANCELLED_EXIT_CODE,
    KILL_AFTER,
    TIME_LIMIT_EXIT_CODE,
    Backend,
    JobOutcome,
    Listener,
    exit_code_of,
)
from streamflow_fluxop.agent.backends.node_allocation import NodeAllocator, Share, Unsatisfiable
from streamflow_fluxop.agent.system.log import log
from streamflow_fluxop.agent.system.output import Tail
from streamflow_fluxop.agent.system.processes import (
    Processes,
    Usage,
    descendants,
    name_of,
    send_signal,
    signal_groups,
    to_bytes,
    with_environment,
)
from streamflow_fluxop.agent.wire.protocol import JobRequest

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ORPHANS_END = 1.0  # seconds that what a job left behind gets to end after the signal, once its tasks are gone
_LEFT_BEHIND = 1.0  # seconds after which it is said what a job waits for, once its tasks are gone
_KILLS = 10  # times that SIGKILL is sent to a job, 0.2 s apart
_STARTS_A_TURN = 8  # jobs started before the event loop gets its turn: a process costs about a millisecond


class Embedded(Backend):
    """Runs jobs as local processes.

    Args:
        processes: starts and reaps them.
        nodes: cores and GPUs of each node; none: one node, this machine.
    """

    def __init__(self, processes: Processes, nodes: Sequence[tuple[int, int]]) -> None:
        self._processes = processes
        self._sizes = list(nodes) or [(len(os.sched_getaffinity(0)), 0)]
        self._nodes = NodeAllocator(self._sizes)
        self._queue: deque[tuple[str, JobRequest]] = deque()
        self._running: dict[str, _Running] = {}
        self._scheduled = False
        self._count = 0
        self._environment = dict(os.environb)

    async def start(self, listener: Listener) -> dict[str, Any]:
        """See `Backend.start`."""
        self._listener = listener
        return {
            "backend": "embedded",
            "version": f"Python {platform.python_version()}",
            "nodes": len(self._sizes),
            "cores": sum(cores for cores, _ in self._sizes),
            "gpus": sum(gpus for _, gpus in self._sizes),
        }

    def submit(self, job: str, request: JobRequest) -> None:
        """See `Backend.submit`."""
        try:
            self._nodes.check(request)
        except Unsatisfiable as error:
            self._listener.finished(job, JobOutcome(1, str(error)))
            return
        self._queue.append((job, request))
        self._schedule_soon()

    def cancel(self, job: str) -> None:
        """See `Backend.cancel`."""
        if job in self._running:
            self._running[job].end(signal.SIGTERM, "cancelled", CANCELLED_EXIT_CODE)
            return
        for entry in self._queue:
            if entry[0] == job:
                self._queue.remove(entry)
                self._listener.finished(job, JobOutcome(CANCELLED_EXIT_CODE, "cancelled"))
                self._schedule_soon()
                return

    async def close(self) -> None:
        """See `Backend.close`."""
        while self._queue:
            self._listener.finished(self._queue.popleft()[0], JobOutcome(CANCELLED_EXIT_CODE, "cancelled"))
        for running in list(self._running.values()):
            running.end(signal.SIGTERM, "cancelled", CANCELLED_EXIT_CODE)
        await self._processes.end_all(grace=1.0)

    def _schedule_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._schedule)

    def _schedule(self) -> None:
        self._scheduled = False
        for _ in range(_STARTS_A_TURN):
            if not self._queue:
                return
            job, request = self._queue[0]
            shares = self._nodes.allocate(request)
            if shares is None:
                return
            self._queue.popleft()
            self._count += 1
            self._listener.started(job)
            running = _Running(self, job, request, shares, f58(self._count))
            self._running[job] = running
            running.start()
        self._schedule_soon()

    def _over(self, running: _Running, outcome: JobOutcome) -> None:
        del self._running[running.job]
        self._nodes.free(running.shares)
        self._schedule_soon()
        self._listener.finished(running.job, outcome)


class _Running:
    """A job that has its resources."""

    def __init__(
        self, scheduler: Embedded, job: str, request: JobRequest, shares: Sequence[Share], flux_id: str
    ) -> None:
        self.job = job
        self.shares = shares
        self._scheduler = scheduler
        self._request = request
        self._flux_id = flux_id
        self._loop = asyncio.get_running_loop()
        self._tasks: set[int] = set()  # the main processes that run
        self._groups: list[int] = []  # process groups, and sessions, of all main processes
        self._output = Tail()
        self._leash: int | None = None
        self._exit_code = 0
        self._memory = self._cpu = 0
        self._reason: str | None = None
        self._forced: int | None = None  # exit code of a job that we ended
        self._timers: list[asyncio.TimerHandle] = []
        self._starting = True
        self._over = False
        self._kills = 0

    def start(self) -> None:
        """Start its tasks."""
        request = self._request
        files: list[int] = []
        try:
            stdout, stderr, leash = self._open(files)
            environment = dict(self._scheduler._environment)
            environment.update((to_bytes(name), to_bytes(value)) for name, value in request.environment.items())
            environment.update(
                {
                    b"FLUX_JOB_ID": self._flux_id.encode(),
                    b"FLUX_JOB_SIZE": b"%d" % request.tasks,
                    b"FLUX_JOB_NNODES": b"%d" % len(self.shares),
                }
            )
            environment.setdefault(b"CUDA_DEVICE_ORDER", b"PCI_BUS_ID")
            rank = 0
            for share in self.shares:
                # no GPU allotted: no GPU seen, as Flux's shell does it (src/shell/gpubind.c)
                visible = sorted(share.gpus)
                if not request.exclusive:  # an uneven job's last nodes hold more than their tasks use
                    visible = visible[: share.tasks * request.gpus_per_task]
                gpus = ",".join(map(str, visible)) or "-1"
                environment[b"CUDA_VISIBLE_DEVICES"] = gpus.encode()
                for local in range(share.tasks):
                    environment[b"FLUX_TASK_RANK"] = b"%d" % rank
                    environment[b"FLUX_TASK_LOCAL_ID"] = b"%d" % local
                    self._spawn(rank, environment, stdout, stderr, leash)
                    rank += 1
        except OSError as error:
            where = f"{error.filename!r}: " if error.filename else ""
            self.end(signal.SIGKILL, f"cannot start: {where}{error.strerror}", 1)
        else:
            if request.time_limit is not None:
                self._later(request.time_limit, self._expired)
        finally:
            for descriptor in files:
                os.close(descriptor)
        self._starting = False
        self._check()

    def _open(self, files: list[int]) -> tuple[int, int, int]:
        """Open what the tasks read and write; `files` takes what is ours to close when they have it.

        The last descriptor is the leash: a pipe that every process of the job holds open, and that carries the output
        which is not redirected. Its end is theirs. (In Flux the connection to PMI has that effect.)
        """
        request = self._request
        cwd = to_bytes(request.cwd) if request.cwd is not None else os.getcwdb()
        os.close(os.open(cwd, os.O_RDONLY | os.O_DIRECTORY))  # else the error would name the command

        def opened(path: str, flags: int) -> int:
            descriptor = os.open(os.path.join(cwd, to_bytes(path)), flags | os.O_CLOEXEC, 0o666)
            files.append(descriptor)
            return descriptor

        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        stdout = opened(request.stdout, write) if request.stdout is not None else None
        if request.stderr is not None and request.stderr == request.stdout:
            stderr = stdout
        else:
            stderr = opened(request.stderr, write) if request.stderr is not None else None
        self._leash, leash = os.pipe()
        files.append(leash)
        os.set_blocking(self._leash, False)
        self._loop.add_reader(self._leash, self._read)
        return leash if stdout is None else stdout, leash if stderr is None else stderr, leash

    def _spawn(self, rank: int, environment: dict[bytes, bytes], stdout: int, stderr: int, leash: int) -> None:
        argv = [to_bytes(word) for word in self._request.argv]
        cwd = to_bytes(self._request.cwd) if self._request.cwd is not None else None
        pid = 0

        # each task reads all of it, as in Flux
        path = os.path.join(cwd or b"", to_bytes(self._request.stdin or os.devnull))
        stdin = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

        def used(usage: Usage) -> None:
            self._memory += usage.memory
            self._cpu += usage.cpu

        def ended(status: int) -> None:
            self._tasks.discard(pid)
            self._exit_code = max(self._exit_code, exit_code_of(status))
            if not self._tasks:
                if self._forced is not None:
                    self._later(_ORPHANS_END, self._kill)
                else:
                    self._later(_LEFT_BEHIND, self._say_what_is_left)
            self._check()

        try:
            pid = self._scheduler._processes.spawn(
                argv,
                cwd=cwd,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                keep=(leash,),
                ended=ended,
                used=used,
            )
        except OSError as error:
            # what a shell says, and Flux's shell too: 127 not found, 126 found but not to be executed
            self._exit_code = max(self._exit_code, 127 if isinstance(error, FileNotFoundError) else 126)
            name = self._request.argv[0]
            self._reason = f"task {rank} (host {platform.node()}): start failed: {name}: {error.strerror}"
        else:
            self._tasks.add(pid)
            self._groups.append(pid)
        finally:
            os.close(stdin)

    def _read(self) -> None:
        assert self._leash is not None
        try:
            data = os.read(self._leash, 1 << 16)
        except BlockingIOError:
            return
        if data:
            self._output.add(data)
        else:
            self._let_go()
            self._check()

    def _let_go(self) -> None:
        if self._leash is not None:
            self._loop.remove_reader(self._leash)
            os.close(self._leash)
            self._leash = None

    def _expired(self) -> None:
        limit = self._request.time_limit
        self.end(signal.SIGALRM, f"time limit of {limit:.10g} s exceeded", TIME_LIMIT_EXIT_CODE)

    def end(self, number: int, reason: str, exit_code: int) -> None:
        """Signal all its processes, and kill what is left after `KILL_AFTER` seconds."""
        if self._forced is not None:
            return
        self._reason, self._forced = reason, exit_code
        signal_groups(self._groups, number)
        self._later(KILL_AFTER, self._kill)

    def _ours(self) -> set[int]:
        """Its tasks and what is below them, and daemons that its tasks left behind."""
        mark = b"FLUX_JOB_ID=" + self._flux_id.encode()
        return descendants(self._tasks) | with_environment(mark, self._scheduler._processes.strays())

    def _say_what_is_left(self) -> None:
        left = ", ".join(f"{pid} ({name_of(pid)})" for pid in sorted(self._ours()))
        if left and not self._over:
            log(f"the command of job {self.job} has ended; the job waits for what it left behind: process {left}")

    def _kill(self) -> None:
        """Kill what is left, daemons too, until nobody holds the leash."""
        send_signal(self._ours(), signal.SIGKILL)
        signal_groups(self._groups, signal.SIGKILL)
        self._kills += 1
        self._later(0.2, self._kill if self._kills < _KILLS else self._give_up)

    def _give_up(self) -> None:
        """Someone holds the leash whom we do not know, or may not kill."""
        self._let_go()
        self._tasks.clear()
        self._check()

    def _later(self, seconds: float, function: Any) -> None:
        self._timers.append(self._loop.call_later(seconds, function))

    def _check(self) -> None:
        """Is it over? Like Flux, not while a process that it left behind runs on."""
        if self._over or self._starting or self._tasks or self._leash is not None:
            return
        self._over = True
        for timer in self._timers:
            timer.cancel()
        exit_code = self._exit_code if self._forced is None else self._forced
        used = (self._memory or None, self._cpu if self._memory else None)
        self._scheduler._over(self, JobOutcome(exit_code, self._reason, self._output.kept, self._output.dropped, *used))


def f58(number: int) -> str:
    """A job id in the manner of Flux's (RFC 19)."""
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return "ƒ" + digits
