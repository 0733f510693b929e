"""The engines, and the words with which each of them runs a job's command.

As the reference runner has them (cwltool's docker.py and singularity.py), but that files lie at the same paths in the
container as outside: what StreamFlow has put into commands, expressions and files holds in both.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from streamflow_fluxop.containers.image import Container

EngineName = Literal["apptainer", "singularity", "podman", "docker", "charliecloud"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
"""In the order in which `auto` tries them: those of sites first, as where they are, the others may not be used."""

PROGRAMS: dict[EngineName, str] = {**{name: name for name in ENGINES}, "charliecloud": "ch-run"}
"""The program of each engine."""

ENGINE_ENVIRONMENT = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_*", "DBUS_SESSION_BUS_ADDRESS", "REGISTRY_AUTH_FILE"),
    *("CONTAINERS_*", "CONTAINER_*", "STORAGE_*", "DOCKER_*", "BUILDAH_*", "APPTAINER*", "SINGULARITY*", "CH_*"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""Variables, or patterns of them, that belong to an engine: its configuration, storage and credentials."""


@dataclass(frozen=True)
class Engine:
    """An engine that works where jobs run.

    Args:
        name: which one.
        version: as it says, such as `4.3.1`.
        uid: of who runs jobs there.
        gid: likewise.
        runtime: of podman, its OCI runtime, such as `crun`.
        rootless: docker's daemon has no root's rights: the container's root is the user.
        images: folder with images as files (apptainer, singularity) or directories (charliecloud).
    """

    name: EngineName
    version: str = ""
    uid: int = 0
    gid: int = 0
    runtime: str = ""
    rootless: bool = False
    images: str = ""

    @property
    def measures(self) -> bool:
        """Whether a job's memory and CPU time are those of its container: where it descends from the job."""
        return self.name not in ("podman", "docker")

    @property
    def has_files(self) -> bool:
        """Whether its images are files or directories, which have to be on storage that every node sees."""
        return self.name not in ("podman", "docker")

    def image_at(self, image: str) -> str:
        """What its command line calls an image: its name, or the path of its file or directory."""
        if not self.has_files:
            return image
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", image)
        return f"{self.images}/{plain}{'' if self.name == 'charliecloud' else '.sif'}"


@dataclass(frozen=True)
class ContainerJob:
    """One job, as far as its container's words hang on it.

    Args:
        name: such as `/step/0.3`.
        command: what to run in the container.
        environment: what the job sees of variables, with HOME and TMPDIR.
        output_directory: on the host; the job starts in it.
        temporary_directory: on the host.
        input_directory: on the host, with links to the inputs; None: not known.
        work_folder: on the host, with the directories of all jobs: it can be read.
        stdin: whether something is read from it.
        gpus: whether it has any.
        python: what runs the launcher.
        staged: folder with what goes to absolute paths in the container.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    output_directory: str
    temporary_directory: str
    input_directory: str | None = None
    work_folder: str | None = None
    stdin: bool = False
    gpus: bool = False
    python: str = "python3"
    staged: str | None = None


def argv_of(engine: Engine, container: Container, job: ContainerJob) -> tuple[str, ...]:
    """The words of a Flux job that runs `job` in its container.

    Args:
        engine: that works where the job runs.
        container: what the job runs in; its image is there.
        job: what to run.
    """
    home = container.output_directory or job.output_directory
    inside = _moved(job, container)
    name = f"fluxop-{re.sub(r'[^A-Za-z0-9.]+', '-', job.name).strip('-.') or 'job'}-{uuid.uuid4().hex[:12]}"
    environment = {k: inside(v) for k, v in job.environment.items()}
    shares_tmp = engine.name == "charliecloud"  # it mounts nothing below what is mounted there, unless it exists
    spec: dict[str, Any] = {
        **_WORDS[engine.name](engine, container, job, name, home),
        "binds": [*_binds(container, job), *([] if shares_tmp else [(job.temporary_directory, "/tmp", True)])],
        "shared": ["/tmp"] if shares_tmp else [],
        "search": [
            *([[job.input_directory, container.inplace_update]] if job.input_directory else []),
            [job.output_directory, container.inplace_update],
        ],
        "environment": environment,
        "staged": job.staged,
        "inplace": container.inplace_update,
    }
    return (job.python, "-c", _launcher(), json.dumps(spec), *(inside(word) for word in job.command))


def _moved(job: ContainerJob, container: Container) -> Callable[[str], str]:
    """How words that name paths outside are said inside."""
    moves = {}
    if job.staged:
        moves[job.staged] = ""
    if container.output_directory:
        moves[job.output_directory] = container.output_directory
    if not moves:
        return lambda word: word
    outside = re.compile(rf"({'|'.join(map(re.escape, moves))})(?=/|$|[^A-Za-z0-9._-])")
    return lambda word: outside.sub(lambda found: moves[found[1]], word)


def _binds(container: Container, job: ContainerJob) -> Iterator[tuple[str, str, bool]]:
    """What the container sees of the host: (path there, path in it, whether it may write)."""
    if job.work_folder is not None:
        yield job.work_folder, job.work_folder, False
    if job.input_directory is not None:
        yield job.input_directory, job.input_directory, container.inplace_update
    yield job.output_directory, job.output_directory, True
    if container.output_directory is not None:
        yield job.output_directory, container.output_directory, True
    yield job.temporary_directory, job.temporary_directory, True


def _oci(engine: Engine, container: Container, job: ContainerJob, name: str, home: str) -> dict[str, Any]:
    """Podman and docker."""
    podman = engine.name == "podman"
    line = [engine.name, "run", "--rm", "--pull=never", f"--name={name}", f"--workdir={home}", "--read-only"]
    if podman:
        line += ["--log-driver=passthrough"]
        line += ["--cgroups=disabled"] if engine.runtime == "crun" else []
        line += ["--userns=keep-id"] if engine.uid else []
    else:
        line += ["--init", "--log-driver=none"]
    user = "0:0" if engine.rootless else f"{engine.uid}:{engine.gid}"
    line += [f"--user={user}"]
    line += ["--interactive"] if job.stdin else []
    line += ["--network=host" if container.network else "--network=none"]  # as apptainer has it
    if job.gpus:
        line += ["--device=nvidia.com/gpu=all"] if podman else ["--gpus=all"]
    return {
        "engine": line,
        "init": podman,
        "bind": ["--mount=type=bind,{source},{target}{ro}"],
        "fields": True,
        "env": ["--env={name}={value}"],
        "env_prefixes": [],
        "image": [container.image.name],
        "remove": [engine.name, "rm", "--force", *(["--time=0"] if podman else []), name],
    }


def _apptainer(engine: Engine, container: Container, job: ContainerJob, name: str, home: str) -> dict[str, Any]:
    """Apptainer and singularity."""
    line = [engine.name, "--quiet", "run", "--contain", "--ipc", "--pid", "--cleanenv", "--no-eval"]
    line += [f"--pwd={home}", f"--home={job.output_directory}:{home}"]
    line += [] if container.network else ["--net", "--network=none"]
    line += ["--nv"] if job.gpus else []
    return {
        "engine": line,
        "bind": ["--mount=type=bind,{source},{target}{ro}"],
        "fields": True,
        "env": [],
        "env_prefixes": [f"{engine.name.upper()}ENV_"],
        "image": [engine.image_at(container.image.name)],
    }


def _charliecloud(engine: Engine, container: Container, job: ContainerJob, name: str, home: str) -> dict[str, Any]:
    folder = engine.image_at(container.image.name)
    return {
        "engine": ["ch-run", "--no-passwd", "--unset-env=*", f"--cd={home}"],
        "bind": ["--bind={source}:{target}"],
        "fields": False,
        "env": ["--set-env={name}={value}"],
        "env_prefixes": [],
        "image": [folder, "--"],
        "unpacked": folder,
    }


_WORDS = {
    "podman": _oci,
    "docker": _oci,
    "apptainer": _apptainer,
    "singularity": _apptainer,
    "charliecloud": _charliecloud,
}


@cache
def _launcher() -> str:
    return files("streamflow_fluxop.containers").joinpath("launcher.py").read_text("utf-8")
