"""Jobs that need not run, as one that did the same has succeeded; and keeping what jobs leave for later runs."""

from __future__ import annotations

import asyncio
import logging
import posixpath
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from streamflow_fluxop.agent.system.job_files import LIGHT, Unfit, carry_out, entries, text
from streamflow_fluxop.reuse.fingerprint import Folders, fingerprint
from streamflow_fluxop.reuse.results import Result, Results, Scope
from streamflow_fluxop.streamflow_plugin.internals import hook
from streamflow_fluxop.streamflow_plugin.job_identity import Do, Identities, Identity, rewritten

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest, JobResult
    from streamflow_fluxop.config.fleet import FleetConfig
    from streamflow_fluxop.streamflow_plugin.current_run import JobPlacement
    from streamflow_fluxop.streamflow_plugin.internals.current_job import CurrentJob

logger = logging.getLogger(__name__)

T = TypeVar("T")

OUTPUT = "cwl.output.json"
"""In which a job may say its outputs itself (CWL 1.2, CommandLineTool, 4.3): it names them by absolute paths."""
OUTPUT_MOST = 1 << 22
"""Bytes of that."""
CHECKSUMS_UP_TO = 1 << 20
"""Bytes of an output up to which its checksum is kept: that of a larger one is not worth reading it again."""
LINKS_FROM = 1 << 20
"""Bytes from which on an output becomes a hard link where it can't share its blocks with the original."""
AT_ONCE = 8
"""Jobs whose files are looked at at once."""
DELAY = 0.25
"""Seconds that results wait for others to be written with them."""
END = 2.0
"""Seconds that keeping results may take when the run is over: MiniClusters cost meanwhile."""
SAID = 3
"""Jobs of which it is said that their result could not be used; there may be thousands."""


@dataclass(frozen=True)
class Left:
    """What a job that succeeded has left, before its files have been looked at.

    Attributes:
        identity: of the job.
        job: its name.
        step: its step, as the plan names it.
        tool: what that runs.
        ended: how it ended.
        seconds: that it ran.
    """

    identity: Identity
    job: str
    step: str
    tool: str | None
    ended: JobResult
    seconds: float

    def result(self, run: str, file: str | None, listed: Sequence[Sequence[Any]], output: str | None) -> Result:
        """The result to be kept.

        Args:
            run: the run's id.
            file: what it runs.
            listed: what lies in the job's directory now.
            output: the text of its `cwl.output.json`; None: there is none.

        Raises:
            Unfit: another job could not have it.
        """
        folders = self.identity.folders
        before = {entry[0]: list(entry[:4]) for entry in self.identity.staged}
        staged = [entry[0] for entry in listed if before and before.get(entry[0]) == list(entry[:4])]
        there = {entry[0] for entry in listed} if before else set()
        return Result(
            fingerprint=fingerprint(self.identity.about, folders),
            run=run,
            file=file,
            step=self.step or None,
            tool=self.tool,
            job=self.job,
            directory=self.identity.directory,
            seconds=self.seconds,
            exit_code=self.ended.exit_code,
            output=self.ended.output,
            folders=folders.paths,
            entries=listed,
            staged=staged,
            removed=[name for name in before if name not in there],
            links=_links(listed, set(staged), folders),
            texts={} if output is None else {OUTPUT: rewritten(output, folders)},
        )


class Reuse:
    """What a fleet's jobs may take from earlier runs, and leave for later ones.

    Args:
        config: of the fleet.
        scope: whose results are used; None: nobody's.
        run: the run's id.
        file: what it runs.
        folder: where results are kept.
    """

    def __init__(self, config: FleetConfig, scope: Scope | None, run: str, file: str | None, folder: Path) -> None:
        self._config = config
        self._scope = scope
        self._run, self._file = run, file
        self._folder = folder
        self._database = ThreadPoolExecutor(1, "results")
        self._here = ThreadPoolExecutor(4, "job files")
        self._results: Results | None = None
        self._left: list[Left] = []
        self._pending: list[Result] = []
        self._checksums: dict[str, tuple[Sequence[int], str]] = {}
        self._writes: asyncio.TimerHandle | None = None
        self._claimed: set[str] = set()
        self._keeping: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(AT_ONCE)
        self._said = 0
        self._closed = False
        self._identities = Identities(config, self._checksums_of)

    @property
    def takes(self) -> bool:
        """Whether results of earlier runs are used."""
        return self._scope is not None

    async def here(self, request: Mapping[str, Any]) -> Any:
        """Carry out on this machine what `agent.system.job_files` can.

        Raises:
            Unfit: it can't be done.
        """
        if request["do"] in LIGHT:
            return done(carry_out(request))
        return done(await asyncio.get_running_loop().run_in_executor(self._here, carry_out, request))

    async def identify(
        self,
        current: CurrentJob | None,
        request: JobRequest,
        placement: JobPlacement,
        image: str | None,
        do: Do,
        *,
        contained: bool,
    ) -> Identity | None:
        """What a job depends on; None: it is neither to be reused nor kept, or nobody knows what it depends on."""
        if current is None or self._closed:
            return None
        try:
            return await self._identities.identify(current, request, placement, image, do, contained=contained)
        except (Unfit, KeyError, TypeError, ValueError) as error:
            logger.debug("the result of job %s is not kept: %s", request.name, error)
            return None

    # taking

    async def take(self, identity: Identity, job: str, step: str, tool: str | None, do: Do) -> Result | None:
        """Bring what an equal job has left to a job's directory.

        Args:
            identity: of the job.
            job: its name.
            step: its step, as the plan names it.
            tool: what that runs.
            do: carries out what is to be done where its files are.

        Returns:
            The other job's result; None: there is none that is unchanged, so that the job has to run.
        """
        for found in await self._in_thread(lambda: self._find(identity)):
            if found.origin in self._claimed:  # jobs of one run that do the same stay independent of each other
                continue
            self._claimed.add(found.origin)
            try:
                return await self._bring(found, identity, job, step, tool, do)
            except Unfit as error:
                self._claimed.discard(found.origin)
                self._said += 1
                level = logging.INFO if self._said <= SAID else logging.DEBUG
                logger.log(level, "job %s runs again: what it left in run %s can't be used: %s", job, found.run, error)
        return None

    def _find(self, identity: Identity) -> list[Result]:
        assert self._scope is not None
        try:
            key = fingerprint(identity.about, identity.folders)
        except (TypeError, ValueError) as error:  # a value that JSON has not
            logger.debug("a job can't be compared with others: %s", error)
            return []
        try:
            return self._open().find(key, self._scope)
        except sqlite3.Error as error:
            logger.warning("results of earlier runs can't be read: %s: %s", self._folder, error)
            return []

    async def _bring(self, found: Result, identity: Identity, job: str, step: str, tool: str | None, do: Do) -> Result:
        new = identity.folders
        links = {name: new.text(parts) for name, parts in found.links.items()}
        texts = {name: new.text(parts) for name, parts in found.texts.items()}
        if None in links.values() or None in texts.values():
            raise Unfit("it names a directory that there is not this time")
        request = {
            "do": "bring",
            "source": found.directory,
            "target": identity.directory,
            "listed": found.entries,
            "by": self._config.reusing.check,
            "keep": list(found.staged),
            "remove": list(found.removed),
            "links": links,
            "texts": texts,
            "hard_links_from": None if identity.in_place else LINKS_FROM,
        }
        fresh = await do(request)
        if fresh:
            stamped = [[*e[:3], fresh[e[0]], e[4]] if e[0] in fresh else e for e in found.entries]
            await self._in_thread(lambda: self._written(lambda: self._open().update(found, stamped)))
        listed = await do({"do": "entries", "directory": identity.directory, "checksums_up_to": CHECKSUMS_UP_TO})
        own = replace(
            found,
            run=self._run,
            file=self._file,
            job=job,
            step=step or None,
            tool=tool,
            directory=identity.directory,
            folders=new.paths,
            entries=listed,
            id=None,
        )
        if self._config.reusing.record:
            self._pending.append(own)
            self._write_soon()
        return found

    # keeping

    def keep(self, left: Left, do: Do | None) -> None:
        """Keep what a job has left, soon, behind the back of whoever goes on.

        Args:
            left: by the job.
            do: carries out what is to be done where its files are; None: they are on this machine.
        """
        if self._closed:
            return
        if do is None:
            self._left.append(left)
            self._write_soon()
            return
        task = asyncio.create_task(self._keep_from(left, do))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def forget(self, directory: str, origin: str | None = None) -> None:
        """The outputs that are expected of a job were not in its directory: no other one may have them.

        Args:
            directory: of the job.
            origin: whose result it had; None: it ran.
        """
        if not (self._closed or hook.ending()):
            self._database.submit(self._written, lambda: self._forget(directory, origin))

    def _forget(self, directory: str, origin: str | None) -> None:
        self._write_all()
        self._open().forget(directory, origin)

    async def kept(self) -> None:
        """Wait until all that has been left is kept: the next job may write to it."""
        if self._keeping:
            await asyncio.wait(set(self._keeping))
        await self._in_thread(lambda: self._written(self._write_all))

    async def _keep_from(self, left: Left, do: Do) -> None:
        async with self._few:
            directory = left.identity.directory
            try:
                listed = await do({"do": "entries", "directory": directory, "checksums_up_to": CHECKSUMS_UP_TO})
                text = None
                if any(entry[0] == OUTPUT for entry in listed):
                    text = await do({"do": "text", "path": posixpath.join(directory, OUTPUT), "most": OUTPUT_MOST})
                result = left.result(self._run, self._file, listed, text)
            except Unfit as error:
                logger.debug("the result of job %s is not kept: %s", left.job, error)
                return
        self._pending.append(result)
        self._write_soon()

    def _keep_here(self, left: Left) -> None:
        directory = left.identity.directory
        try:
            listed = entries(directory, CHECKSUMS_UP_TO)
            there = any(entry[0] == OUTPUT for entry in listed)
            written = text(posixpath.join(directory, OUTPUT), OUTPUT_MOST) if there else None
            self._pending.append(left.result(self._run, self._file, listed, written))
        except (Unfit, OSError, TypeError, ValueError) as error:
            logger.debug("the result of job %s is not kept: %s", left.job, error)

    async def close(self, timeout: float = END) -> None:
        """Keep what is to be kept, within some seconds. Never raises."""
        self._closed = True
        if self._keeping:
            await asyncio.wait(set(self._keeping), timeout=timeout)
        for task in self._keeping:
            task.cancel()
        if self._writes is not None:
            self._writes.cancel()
        await self._in_thread(self._close)
        self._database.shutdown(wait=False)
        self._here.shutdown(wait=False)

    # the database's thread

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._database, function)

    def _open(self) -> Results:
        if self._results is None:
            self._results = Results(self._folder)
            if self._results.problem:
                logger.warning("no results are kept for later runs, nor used: %s", self._results.problem)
        return self._results

    def _write_soon(self) -> None:
        if self._writes is None:
            self._writes = asyncio.get_running_loop().call_later(DELAY, self._write)

    def _write(self) -> None:
        self._writes = None
        self._database.submit(self._written, self._write_all)

    def _write_all(self) -> None:
        here, self._left = self._left, []
        for left in here:
            self._keep_here(left)
        results, self._pending = self._pending, []
        checksums, self._checksums = self._checksums, {}
        if results or checksums:
            self._open().add(results, checksums)

    def _written(self, write: Callable[[], None]) -> None:
        try:
            write()
        except sqlite3.Error as error:
            logger.warning("results could not be kept for later runs: %s: %s", self._folder, error)

    def _close(self) -> None:
        self._written(self._write_all)
        if self._results is not None:
            self._results.forget_oldest()
            self._results.close()

    def _known(self, stamps: Mapping[str, Sequence[int]]) -> dict[str, str]:
        try:
            return self._open().checksums(stamps)
        except sqlite3.Error as error:
            logger.debug("checksums are made anew: %s", error)
            return {}

    async def _checksums_of(self, do: Do, stamps: Mapping[str, Sequence[int]]) -> dict[str, str]:
        """The checksums of files, made where they are not known yet.

        Raises:
            Unfit: one of them is being written to.
        """
        known = await self._in_thread(lambda: self._known(stamps))
        if missing := [path for path in stamps if path not in known]:
            made = await do({"do": "checksums", "paths": missing})
            for path in missing:
                if path not in made:
                    raise Unfit(f"{path} can't be read, or is being written to")
                known[path] = made[path][1]
                self._checksums[path] = (made[path][0], made[path][1])
            self._write_soon()
        return known


def done(answer: Mapping[str, Any]) -> Any:
    """What `agent.system.job_files.carry_out` has done.

    Raises:
        Unfit: it could not.
    """
    if "unfit" in answer:
        raise Unfit(answer["unfit"])
    return answer["done"]


def _links(listed: Sequence[Sequence[Any]], staged: set[str], folders: Folders) -> dict[str, Any]:
    """What absolute links of a job point to, directories by role.

    Raises:
        Unfit: one leads to where another job's files would not be.
    """
    found = {}
    for name, kind, *about in listed:
        if kind != "l" or name in staged:
            continue
        target = about[0]
        if posixpath.isabs(target):
            parts = folders.parts(target)
            roles = {part[0] for part in parts if not isinstance(part, str)}
            if not roles or "tmp" in roles:
                raise Unfit(f"{name} is a link to {target}, which is neither an output nor an input")
            found[name] = parts
        elif posixpath.normpath(posixpath.join(posixpath.dirname(name), target)).startswith(".."):
            raise Unfit(f"{name} is a link to {target}, outside of its directory")
    return found
