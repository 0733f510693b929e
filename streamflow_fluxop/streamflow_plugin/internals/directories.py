"""The directories that StreamFlow makes before each job, without waiting for each.

It makes three, and then asks for their real paths, four times one after the other; the next job of a step waits
meanwhile (StreamFlow 0.2: `ScheduleStep._schedule`), so that round trips to a MiniCluster would decide how many jobs
start in a second. Here a directory's real path comes with its making, and the questions that follow are answered from
it. Once one directory's place is known, those beside it are made behind StreamFlow's back: whatever names one of them,
the job above all, waits until it is there, and fails with the reason if it can't be made.

When a job is over StreamFlow asks how much lies in its directories, and lets no other job be scheduled or be over
meanwhile (`DefaultScheduler.notify_status`). So that is asked when the job ends, ahead of StreamFlow.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace

from streamflow.core.exception import WorkflowExecutionException

from streamflow_fluxop.agent.wire.protocol import CommandResult

logger = logging.getLogger(__name__)

_PATH = re.compile(r"/[A-Za-z0-9@%+./_-]*")
_MAKE = re.compile(rf"mkdir -m [0-7]{{3,4}} -p ({_PATH.pattern})")
_REAL_PATH = re.compile(rf"test -e ({_PATH.pattern}) && readlink -f \1")
_ONLY_ASK = ("test ", "set -- ", "find ", "cat ", "head ")
_SIZES = "find -L {} -type f -exec ls -ln {{}} \\+ | awk 'BEGIN {{sum=0}} {{sum+=$5}} END {{print sum}}';"
_SIZES_OF = re.compile(re.escape(_SIZES.format("PATHS")).replace("PATHS", r'("[^"]*"(?: "[^"]*")*)'))

KEPT = 2.0
"""Seconds for which an answer counts: StreamFlow asks within milliseconds, and makes the next ones soon."""

SIZES_KEPT = 60.0
"""Seconds that StreamFlow takes at most to collect a job's outputs, until it is asked for again."""

CarryOut = Callable[[str], Awaitable[CommandResult]]


class Directories:
    """Carries StreamFlow's small commands out, those about new directories sooner than it thinks, or later.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, str]] = {}  # the newest at the end
        self._parents: dict[tuple[str, str], tuple[float, str]] = {}
        self._being_made: dict[tuple[str, str], asyncio.Task[None]] = {}  # or could not be made
        self._sizes: dict[tuple[str, frozenset[str]], tuple[float, asyncio.Task[CommandResult]]] = {}

    async def run(self, place: str, line: str, carry_out: CarryOut) -> CommandResult:
        """Do what a command line says, or know what it would say.

        Args:
            place: where; the same path may be another file elsewhere.
            line: the command line.
            carry_out: carries a command line out there.

        Raises:
            WorkflowExecutionException: a directory that it names could not be made.
        """
        match = _REAL_PATH.fullmatch(line)
        if match and (path := self._told(self._known, place, match[1])):
            return CommandResult(path.encode(), 0)
        match = _SIZES_OF.fullmatch(line.strip())
        if match and (asked := self._sizes.pop((place, frozenset(match[1][1:-1].split('" "'))), None)):
            return await asked[1]
        match = _MAKE.fullmatch(line)
        if match and posixpath.normpath(match[1]) == match[1]:
            return await self._make(place, line, match[1], carry_out)
        await self.made(place, line)
        if not line.startswith(_ONLY_ASK):
            self._forget(place, _PATH.findall(line))
        return await carry_out(line)

    async def made(self, place: str, text: str | None = None) -> None:
        """Wait until the directories are there that a text names, such as a job's command line.

        Args:
            place: where.
            text: names them; None: all that are being made there.

        Raises:
            WorkflowExecutionException: one could not be made.
        """
        if not self._being_made:
            return
        if text is None:
            tasks = [task for (where, _), task in self._being_made.items() if where == place]
        else:
            named = {folder for path in _PATH.findall(text) for folder in _upwards(path)}
            tasks = [task for folder in named if (task := self._being_made.get((place, folder)))]
        for task in tasks:
            await asyncio.shield(task)

    def used(self, place: str, directories: Iterable[str], carry_out: CarryOut) -> None:
        """Ask how much lies in the directories of a job that has ended; StreamFlow will want to know."""
        paths = sorted(directories)
        now = self._clock()
        while self._sizes and now - next(iter(self._sizes.values()))[0] >= SIZES_KEPT:
            _, task = self._sizes.pop(next(iter(self._sizes)))
            task.cancel()
        if all(_PATH.fullmatch(path) for path in paths):
            line = _SIZES.format(" ".join(f'"{path}"' for path in paths))
            task = asyncio.create_task(_carried_out(carry_out, line))
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # it may not be wanted
            self._sizes[place, frozenset(paths)] = now, task

    async def close(self) -> None:
        """Make no more of them."""
        tasks = [*self._being_made.values(), *(task for _, task in self._sizes.values())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _make(self, place: str, line: str, directory: str, carry_out: CarryOut) -> CommandResult:
        asking = f"{line} && readlink -f {directory}"
        parent, name = posixpath.split(directory)
        if real_parent := self._told(self._parents, place, parent):
            real = posixpath.join(real_parent, name)
            self._note(self._known, place, directory, real)
            task = asyncio.create_task(self._behind(place, directory, carry_out(asking), line, real))
            self._being_made[place, directory] = task
            task.add_done_callback(lambda done: self._over(place, directory, done))
            return CommandResult(b"", 0)
        result = await carry_out(asking)
        if result.exit_code:
            return result
        self._learn(place, directory, result.output.decode().rstrip("\n"))
        return replace(result, output=b"")

    async def _behind(self, place: str, directory: str, making: Awaitable[CommandResult], line: str, real: str) -> None:
        result = await making
        said = result.output.decode(errors="replace").rstrip("\n")
        if result.exit_code:
            errors = result.errors.decode(errors="replace")
            raise WorkflowExecutionException(f"FAILED `{line}`: {f'{said} {errors}'.strip() or result.exit_code}")
        if said != real:
            raise WorkflowExecutionException(f"FAILED `{line}`: it is {said}, not {real}: its parent was moved")
        self._learn(place, directory, said)

    def _over(self, place: str, directory: str, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        if error := task.exception():  # stays, for whoever wants to use the directory
            logger.debug("%s: %s", place, error)
        else:
            del self._being_made[place, directory]

    def _learn(self, place: str, directory: str, real: str) -> None:
        """Take note of what making a directory has said."""
        self._note(self._known, place, directory, real)
        parent, name = posixpath.split(directory)
        real_parent, real_name = posixpath.split(real)
        if name == real_name:
            self._note(self._parents, place, parent, real_parent)

    def _note(self, told: dict[tuple[str, str], tuple[float, str]], place: str, path: str, real: str) -> None:
        now = self._clock()
        while told and now - told[oldest := next(iter(told))][0] >= KEPT:
            del told[oldest]
        told.pop((place, path), None)
        told[place, path] = now, real

    def _told(self, told: dict[tuple[str, str], tuple[float, str]], place: str, path: str) -> str | None:
        when, real = told.get((place, path), (0.0, ""))
        return real if real and self._clock() - when < KEPT else None

    def _forget(self, place: str, paths: list[str]) -> None:
        """What removes, moves or links a directory, or one above it, makes what we know of it old."""
        for told in (self._known, self._parents):
            for where, known in list(told):
                if where == place and any(f"{known}/".startswith(f"{path.rstrip('/')}/") for path in paths):
                    del told[where, known]


async def _carried_out(carry_out: CarryOut, line: str) -> CommandResult:
    return await carry_out(line)


def _upwards(path: str) -> Iterator[str]:
    """A path, and all those above it."""
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]
