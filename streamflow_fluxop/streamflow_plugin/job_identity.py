"""What a job's result depends on, from what StreamFlow and the fleet know of it."""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.system.job_files import Unfit
from streamflow_fluxop.reuse.fingerprint import Folders, JobDescription, described, input_folders, without_content
from streamflow_fluxop.streamflow_plugin.input_sizes import plain

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest
    from streamflow_fluxop.config.fleet import FleetConfig
    from streamflow_fluxop.streamflow_plugin.current_run import JobPlacement
    from streamflow_fluxop.streamflow_plugin.internals.current_job import CurrentJob

Do = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Carries out what `agent.system.job_files` can, where a job's files are.

Raises:
    Unfit: it can't be done.
"""
Checksums = Callable[[Do, Mapping[str, Sequence[int]]], Awaitable[Mapping[str, str]]]
"""The checksums of files, by path, of which the stamps are known."""

logger = logging.getLogger(__name__)

SCRIPT_MOST = 1 << 16
"""Bytes of a text that is made for a job in which names of its directories are looked for."""

TREE_KEPT = 5.0
"""Seconds for which it counts what a directory is like that a job names and that is no input."""

_PATH = re.compile(r"(?:(?<![A-Za-z0-9_.~/-])|(?<=\s-[A-Za-z]))/[A-Za-z0-9@%+._/~-]*[A-Za-z0-9@%+_/-]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*")
_SHELLS = ("sh", "bash", "dash", "ksh", "zsh", "env")
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/etc/")
_NOT_FILES = ("/dev/", "/proc/", "/sys/")
_COUNTS = ("PATH", "TZ", "LANG", "LANGUAGE", "LC_*", "LD_LIBRARY_PATH", "CONDA_PREFIX", "VIRTUAL_ENV", "LOADEDMODULES")
"""Variables of this machine that every job sees, and that results are known to depend on."""
_OF_THE_MOMENT = ("_", "PWD", "OLDPWD", "SHLVL", "TERM", "COLUMNS", "LINES", "SSH_*", "XDG_*", "DBUS_*")
"""Variables that differ from one login to the next; they don't count where a user preserves all."""


@dataclass(frozen=True)
class Identity:
    """A job, as far as its result depends on it.

    Attributes:
        about: what counts.
        folders: its directories.
        directory: in which it runs.
        staged: what lies there before it starts (`agent.system.job_files.entries`).
        in_place: a job of the workflow may write to the files of another.
    """

    about: JobDescription
    folders: Folders
    directory: str
    staged: Sequence[Sequence[Any]]
    in_place: bool


class Identities:
    """Tells what the jobs of a fleet depend on.

    Args:
        config: of the fleet.
        checksums: makes checksums of files, or remembers them.
    """

    def __init__(self, config: FleetConfig, checksums: Checksums) -> None:
        self._config = config
        self._checksums = checksums
        self._given = _given(config) if config.cluster == "local" else {}
        self._programs: dict[tuple[str, str | None], str | None] = {}
        self._trees: dict[str, tuple[float, str]] = {}

    async def identify(
        self,
        current: CurrentJob,
        request: JobRequest,
        placement: JobPlacement,
        image: str | None,
        do: Do,
        *,
        contained: bool,
    ) -> Identity | None:
        """What a job that is about to start depends on; None: its tool, or its workflow, does not want it reused.

        Args:
            current: StreamFlow's view of it.
            request: what the agent is to run.
            placement: what the fleet knows of it.
            image: of its container.
            do: carries out what is to be done where its files are.
            contained: it runs in a container, where it sees no other programs and files than those of its image.

        Raises:
            Unfit: that can't be known.
        """
        job = current.job
        if request.cwd is None or not _may_be_reused(current):
            return None
        inputs = {name: plain(token) for name, token in job.inputs.items()}
        own = {"out": request.cwd, "tmp": request.environment.get("TMPDIR", ""), "in": job.input_directory}
        folders = Folders({**own, **input_folders(inputs, job.input_directory)})
        contents = {path: await self._content(path, do) for path in dict.fromkeys(without_content(inputs))}
        staged: Sequence[Sequence[Any]] = ()
        if current.command.initial_work_dir is not None:
            staged = await do({"do": "entries", "directory": request.cwd})
        needs = placement.needs
        about = JobDescription(
            argv=request.argv,
            environment=request.environment,
            stdin=request.stdin,
            stdout=request.stdout,
            stderr=request.stderr,
            image=image,
            needs={
                "nodes": needs.nodes,
                "tasks": needs.tasks,
                "cores_per_task": needs.cores_per_task,
                "gpus_per_task": needs.gpus_per_task,
                "in_container": contained,
                "network": contained and placement.container is not None and placement.container.network,
            },
            success_codes=sorted(placement.success_codes),
            inputs=described(inputs, contents),
            staged=[await self._staged(entry, request.cwd, folders, do) for entry in staged],
            outside=await self._outside(request, folders, do, contained=contained),
            given={} if contained else self._given,
        )
        return Identity(about, folders, request.cwd, staged, _updates_in_place(current))

    async def _staged(self, entry: Sequence[Any], directory: str, folders: Folders, do: Do) -> Sequence[Any]:
        name, kind, *about = entry
        path = os.path.join(directory, name)
        if kind == "d":
            return [name, kind]
        if kind == "f" and about[1][0] <= SCRIPT_MOST:
            try:  # StreamFlow may have written names of directories into it
                return [name, kind, about[0], await do({"do": "text", "path": path, "most": SCRIPT_MOST})]
            except Unfit as error:
                logger.debug("%s is compared as it is: %s", path, error)
        return [name, kind, *about[:-2], await self._content(path, do)]

    async def _content(self, path: str, do: Do) -> Any:
        """What identifies the content of a file or directory."""
        if not path:
            raise Unfit("there is an input without a path")
        found = await do({"do": "contents", "path": path})
        files = {e[2]: e[3] for e in found if len(e) > 1}
        if self._config.reusing.check == "content":
            known = await self._checksums(do, files)
            return [[e[0], e[1], known[e[2]]] if len(e) > 1 else e for e in found]
        return [[e[0], e[1], *e[3][:2]] if len(e) > 1 else e for e in found]

    async def _outside(self, request: JobRequest, folders: Folders, do: Do, *, contained: bool) -> list[Sequence[Any]]:
        """The files that a job names and that are no inputs of it: programs, scripts, data at absolute paths."""
        texts = [*request.argv, *request.environment.values(), request.stdin or ""]
        named = dict.fromkeys(path for text in texts for path in _absolute(text, folders))
        own = posixpath.normpath(request.cwd or "/")
        if contained:
            shared = self._config.shared_path
            named = {p: None for p in named if shared and p.startswith(f"{shared}/")}  # the image has the others
        elif self._config.cluster == "local":
            named |= dict.fromkeys(self._commands(request.argv, request.environment.get("PATH")))
        if not named:
            return []
        found = await do({"do": "versions", "paths": list(named)})
        result: list[Sequence[Any]] = []
        for path, mark in sorted(found.items()):
            if mark is not None:
                result.append([path, mark[:2] if path.startswith(_SYSTEM) else mark])
            elif not f"{path}/".startswith(_SYSTEM):
                if f"{own}/".startswith(f"{path.rstrip('/')}/"):
                    raise Unfit(f"it names {path}, in which it runs")
                result.append([path, await self._tree(path, do)])
        return result

    async def _tree(self, path: str, do: Do) -> str:
        """What tells one version from another of a directory that is no input; of such, many jobs may name one."""
        now = time.monotonic()
        when, known = self._trees.get(path, (-inf, ""))
        if now - when > TREE_KEPT:
            known = await do({"do": "version_of_tree", "path": path})
            self._trees[path] = time.monotonic(), known
        return known

    def _commands(self, argv: Sequence[str], path: str | None) -> Iterator[str]:
        """The programs on the PATH that a command, or a shell's script, may run."""
        words: Iterable[str] = argv[:1]
        if os.path.basename(argv[0]) in _SHELLS:
            words = dict.fromkeys(word for text in argv for word in _WORD.findall(text))
        for word in words:
            if (word, path) not in self._programs:
                self._programs[word, path] = shutil.which(word, path=path)
            if found := self._programs[word, path]:
                yield found


def _absolute(text: str, folders: Folders) -> Iterator[str]:
    """The absolute paths in a text, and the text itself where it is one, but for those in a job's directories."""
    if "/" not in text:
        return
    parts = folders.parts(text)
    found = {text} if parts == [text] and text.startswith("/") else set()
    for number, part in enumerate(parts):
        if isinstance(part, str):  # what follows a directory's name lies in it
            found.update(_PATH.findall(f"{'x' if number else ' '}{part}"))
    for path in map(posixpath.normpath, sorted(found)):
        if path.strip("/") and not path.startswith(_NOT_FILES):
            yield path


def _given(config: FleetConfig) -> dict[str, str]:
    def counts(name: str) -> bool:
        if any(fnmatchcase(name, p) for p in _COUNTS):
            return True
        own = any(fnmatchcase(name, p) for p in config.preserve_environment)
        return own and not any(fnmatchcase(name, p) for p in _OF_THE_MOMENT)

    return {name: value for name, value in os.environ.items() if counts(name)}


def _may_be_reused(current: CurrentJob) -> bool:
    """CWL's WorkReuse, which StreamFlow knows; and no job that changes its inputs."""
    command = current.command
    if command.inplace_update or not bool(command.step._is_recoverable(current.job)):
        return False
    return not (command.absolute_initial_workdir_allowed and _stages_elsewhere(command.initial_work_dir))


def _stages_elsewhere(listing: Any) -> bool:
    """Whether files are put at absolute paths, or at such that only an expression tells."""
    if isinstance(listing, str):
        return '"entryname"' in listing or "entryname:" in listing
    if isinstance(listing, Mapping):
        name = listing.get("entryname")
        return isinstance(name, str) and (name.startswith("/") or "$(" in name or "${" in name)
    return isinstance(listing, Sequence) and any(_stages_elsewhere(part) for part in listing)


def _updates_in_place(current: CurrentJob) -> bool:
    """Whether some step of a job's workflow writes to files of others."""
    commands = (getattr(step, "command", None) for step in current.command.step.workflow.steps.values())
    return any(getattr(command, "inplace_update", False) for command in commands)


def rewritten(text: str, folders: Folders) -> list[Any]:
    """JSON with its directories by role (`Folders.parts`).

    Raises:
        Unfit: it is no JSON, or names a directory that goes with the job.
    """
    try:
        parts = folders.parts(json.dumps(json.loads(text), ensure_ascii=False))
    except ValueError as error:
        raise Unfit(f"it is no JSON: {error}") from None
    if ["tmp"] in parts:
        raise Unfit("it names the job's temporary directory")
    return parts
