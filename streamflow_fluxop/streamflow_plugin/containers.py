"""The containers of a fleet's jobs: which engine runs them, that images are got once, and the jobs that they make."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import posixpath
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from streamflow_fluxop.containers import Container, ContainerJob, Engine, Image, argv_of
from streamflow_fluxop.containers.detect import PROBE, choose, read_probe
from streamflow_fluxop.containers.engines import ENGINE_ENVIRONMENT, EngineName
from streamflow_fluxop.containers.store import NoImage, read, script
from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.events import ImageGot, Recorder

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest

logger = logging.getLogger(__name__)

Shell = Callable[[str, float], Awaitable[tuple[int, str]]]
"""Runs a script where jobs run, for so many seconds at most: exit code and output."""

STAGED = "fluxop-staged"
"""Folder, in a job's temporary directory, with what InitialWorkDirRequirement puts at absolute paths."""
_PROBE_TIME = 90.0
_PULL_TIME = 4 * 3600.0
_AT_ONCE = 2


class ContainerError(FluxopError):
    """A job's container can't be run."""


class Containers:
    """What runs the containers of a fleet's jobs.

    Args:
        wanted: `containers` of the fleet.
        here: jobs run on this machine.
        python: what runs the launcher there.
        shell: at the place where jobs run.
        record: of the fleet.
        engine: that is known already.
    """

    def __init__(
        self,
        wanted: str,
        *,
        here: bool,
        python: str,
        shell: Shell,
        record: Recorder,
        engine: Engine | None = None,
    ) -> None:
        self._wanted = wanted
        self._known = engine
        self._python = python
        self._here = here
        self._where = "on this machine" if here else "there"
        self._shell = shell
        self._record = record
        self._engine: asyncio.Task[Engine | None] | None = None
        self._images: dict[str, asyncio.Task[None]] = {}
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._ahead: asyncio.Task[None] | None = None

    def get_ahead(self, images: Mapping[Image, Iterable[str]]) -> None:
        """Get images while earlier work goes on.

        Args:
            images: in the order in which they are needed, each with the steps that need it.
        """
        if images:
            self._ahead = asyncio.create_task(self._get_ahead(images), name="images")

    async def _get_ahead(self, images: Mapping[Image, Iterable[str]]) -> None:
        try:
            engine = await self.engine()
        except FluxopError as unusable:
            logger.error("%s", unusable)
            return
        if engine is None:
            why = "`containers: none`" if self._wanted == "none" else f"no container engine works {self._where}"
            logger.warning("%s: commands of %s run as they are there", why, ", ".join(i.name for i in images))
            return
        getting = {image: self._task(image) for image in images}
        for image, task in getting.items():
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()):
                logger.error("%s: jobs of %s will fail", error, ", ".join(images[image]))

    async def engine(self) -> Engine | None:
        """The engine; None where there is none, or none is wanted.

        Raises:
            ContainerError: the one that is wanted doesn't work.
        """
        if self._engine is None:
            self._engine = asyncio.create_task(self._find())
        return await asyncio.shield(self._engine)

    async def _find(self) -> Engine | None:
        if self._wanted == "none":
            return None
        working: Mapping[EngineName, Engine] = {}
        broken: Mapping[EngineName, str] = {}
        if self._known is None:
            _, text = await self._shell(PROBE, _PROBE_TIME)
            working, broken = read_probe(text)
        engine = self._known or choose(working, self._wanted)
        if engine is not None:
            logger.info("CONTAINERS of jobs are run by %s %s", engine.name, engine.version)
        elif self._wanted != "auto":
            raise ContainerError(not_working(self._wanted, broken))
        return engine

    async def ready(self, image: Image) -> None:
        """Wait until an image is there; it is got once, however many jobs wait.

        Raises:
            ContainerError: it can't be got.
        """
        await asyncio.shield(self._task(image))

    def _task(self, image: Image) -> asyncio.Task[None]:
        if image.name not in self._images:
            self._images[image.name] = asyncio.create_task(self._get(image))
        return self._images[image.name]

    async def _get(self, image: Image) -> None:
        engine = await self.engine()
        assert engine is not None
        async with self._few:
            began = time.monotonic()
            saying = asyncio.get_running_loop().call_later(
                1.0, logger.info, "GETTING image %s (%s) with %s", image.name, image.source, engine.name
            )
            try:
                got = read(*await self._shell(script(engine, image), _PULL_TIME))
            except NoImage as error:
                raise ContainerError(
                    f"the image {image.name} can't be got with {engine.name}: {error}\n"
                    "  Commands run as they are where the fleet says `containers: none`."
                ) from None
            finally:
                saying.cancel()
            took = time.monotonic() - began
            if got.fetched:
                logger.info("GOT image %s in %.1f s", image.name, took)
            self._record(
                ImageGot(
                    image=image.name,
                    source=image.source,
                    engine=engine.name,
                    digest=got.digest or None,
                    fetched=got.fetched,
                    seconds=took,
                )
            )

    async def inside(
        self, request: JobRequest, container: Container, input_directory: str | None
    ) -> tuple[JobRequest, bool]:
        """The job that runs another one's command in its container.

        Args:
            request: the job, with directories of the place where it runs.
            container: what it is to run in.
            input_directory: where its inputs are.

        Returns:
            It, and whether what it uses is what the container uses.

        Raises:
            ContainerError: it can't.
        """
        engine = await self.engine()
        if engine is None or request.cwd is None:
            return request, True
        await self.ready(container.image)
        temporary = request.environment.get("TMPDIR", request.cwd)
        folders = {posixpath.dirname(d) for d in (request.cwd, input_directory or request.cwd)}
        job = ContainerJob(
            name=request.name,
            command=request.argv,
            environment=request.environment,
            output_directory=request.cwd,
            temporary_directory=temporary,
            input_directory=input_directory,
            work_folder=folders.pop() if len(folders) == 1 else None,
            stdin=request.stdin is not None,
            gpus=request.gpus_per_task > 0,
            python=self._python,
            staged=posixpath.join(temporary, STAGED),
        )
        argv = argv_of(engine, container, job)
        return replace(request, argv=argv, environment=self._own_environment()), engine.measures

    def _own_environment(self) -> dict[str, str]:
        """What the engine itself needs of the environment; elsewhere it has it."""
        if not self._here:
            return {}
        own = {k: v for k, v in os.environ.items() if any(fnmatchcase(k, p) for p in ENGINE_ENVIRONMENT)}
        return own if "USER" in own else {"USER": _user(), **own}

    async def close(self) -> None:
        """End what is under way."""
        tasks = [t for t in (self._ahead, self._engine, *self._images.values()) if t is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # was said, or nobody asked


def not_working(wanted: str, broken: Mapping[EngineName, str]) -> str:
    """That the engine that a fleet wants does not work, and why."""
    why = next((why for name, why in broken.items() if name == wanted), "there is no such program on the PATH")
    return f"containers: {wanted} does not work where jobs run: {why}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
