"""Runs a container as a job's process, on the node where the job runs: `python3 -c SOURCE SPECIFICATION COMMAND…`.

It looks through the job's directories for links that leave what the container sees, adds them to the engine's words,
and starts the engine. Engines whose containers are no descendants of theirs (podman, docker) leave the container behind
when they are killed: a process beside them, out of the job's session and environment, removes it then.

Needs Python 3.8 and the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False  # as typing has it, which takes its time to import
if TYPE_CHECKING:
    from typing import Any

FORWARDED = ("FLUX_", "PMI_", "PMIX_", "OMPI_", "SLURM_")
"""What a task is told by who started it, by the beginnings of the names."""
CUDA = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
_MOST_LINKS = 10_000
_STARTS = 2.0  # seconds that an engine may take until it passes signals on
_INITS = ("/usr/libexec/podman", "/usr/local/libexec/podman", "/usr/lib/podman", "/usr/local/lib/podman", "/usr/bin")


def binds(spec: dict[str, Any]) -> list[Any]:
    """(source, target, writable) of each mount, outer ones first."""
    made = [tuple(bind) for bind in spec["binds"]]
    seen = [target for source, target, _ in made if source == target] + spec["shared"]
    staged = spec.get("staged")
    for place, writable in [*spec["search"], *([[staged, spec["inplace"]]] if staged else [])]:
        for link in _links(place):
            for hop in _hops(link):
                inside = any(_lies_in(hop, target) for target in seen)
                if inside and not (writable and not os.path.islink(hop)):
                    continue
                source = os.path.realpath(hop)
                if os.path.exists(source) and (source, hop, writable) not in made:
                    made.append((source, hop, writable))
                    seen.append(hop)
    if staged and os.path.isdir(staged):
        made += _staged(staged, spec["inplace"])
    return sorted(made, key=lambda bind: bind[1].count("/") if bind[1] != "/" else 0)


def _links(place: str) -> list[Any]:
    """All links at and below a path, also below directories that links lead to."""
    found: list[str] = []
    todo = [place]
    visited: set[str] = set()
    while todo and len(found) < _MOST_LINKS:
        path = todo.pop()
        if os.path.islink(path):
            found.append(path)
        real = os.path.realpath(path)
        if not os.path.isdir(real) or real in visited:
            continue
        visited.add(real)
        with os.scandir(real) as entries:
            todo += [entry.path for entry in entries if entry.is_symlink() or entry.is_dir()]
    return found


def _hops(link: str) -> list[Any]:
    """What a link names, and what that names if it is a link: a container needs each."""
    hops: list[str] = []
    while os.path.islink(link) and len(hops) < 40:
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
        hops.append(link)
    return hops


def _staged(folder: str, inplace: bool) -> list[Any]:
    """What InitialWorkDirRequirement puts at absolute paths lies below a folder, at the same path."""
    found: list[tuple[str, str, bool]] = []
    todo = [folder]
    while todo:
        path = todo.pop()
        with os.scandir(path) as entries:
            below = list(entries)
        if len(below) == 1 and below[0].is_dir(follow_symlinks=False):
            todo.append(below[0].path)
            continue
        for entry in below:
            target = "/" + os.path.relpath(entry.path, folder)
            found.append((os.path.realpath(entry.path), target, inplace or not entry.is_symlink()))
    return found


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def words(spec: dict[str, Any], command: list[Any], environment: dict[str, Any]) -> list[Any]:
    """The engine's command line."""
    line = list(spec["engine"])
    if spec.get("init") and any(os.path.exists(os.path.join(folder, "catatonit")) for folder in _INITS):
        line.append("--init")
    for source, target, writable in binds(spec):
        line += [
            word.format(
                source=_field("source=", source) if spec["fields"] else source,
                target=_field("target=", target) if spec["fields"] else target,
                ro="" if writable else ",readonly",
            )
            for word in spec["bind"]
        ]
    told = {k: v for k, v in environment.items() if k.startswith(FORWARDED) or k in CUDA}
    for name, value in {**told, **spec["environment"]}.items():
        if spec["env"]:
            line += [word.format(name=name, value=value) for word in spec["env"]]
        for prefix in spec["env_prefixes"]:
            environment[prefix + name] = value
    return line + list(spec["image"]) + list(command)


def _field(name: str, path: str) -> str:
    """A field of `--mount`, which is read as CSV."""
    text = name + path
    return '"{}"'.format(text.replace('"', '""')) if any(c in text for c in ',"\n') else text


def make_folders(spec: dict[str, Any]) -> None:
    """An unpacked image has no place to mount on where it has no such file: make it."""
    root = spec.get("unpacked")
    for source, target, _ in binds(spec) if root else ():
        place = root + target
        if any(_lies_in(target, folder) for folder in spec["shared"]):
            continue
        if os.path.isdir(source):
            os.makedirs(place, exist_ok=True)
        elif not os.path.lexists(place):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "a"):
                pass


def watch(remove: list[Any], environment: dict[str, Any]) -> int:
    """Start what removes the container if we are killed. What is written to the descriptor returned keeps it away."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child:
        os.close(ours)
        os.waitpid(child, 0)
        return theirs
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _cut_loose(ours)
        # another program: a process that was only forked shows our environment, by which jobs are found and killed
        os.execve("/bin/sh", ["/bin/sh", "-c", WATCH, "sh", *remove], environment)
    finally:
        os._exit(1)


def _of_its_own(environment: dict[str, str]) -> dict[str, str]:
    """An environment by which nobody takes a process for one of the job, but for one that cleans up (SPARED)."""
    return {**{k: v for k, v in environment.items() if not k.startswith("FLUX")}, "CLEANS_UP_AFTER_JOB": "1"}


WATCH = """\
said=$(cat)
case $said in *over) exit ;; esac
[ -z "$said" ] || kill -9 "$said" 2>/dev/null
for again in 1 2 3; do "$@" && exit; sleep 1; done
"""
"""Waits for the end of its input. It tries several times, as a daemon may be about to start the container."""


def _cut_loose(read: int) -> None:
    """Hold nothing of the job: neither its descriptors nor its directory."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(read, 0)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(int(name))


def main(spec: dict[str, Any], command: list[Any]) -> int:
    """Run it; returns its exit code."""
    environment = dict(os.environ)
    try:
        make_folders(spec)
        line = words(spec, command, environment)
    except OSError as error:
        sys.stderr.write(f"cannot prepare the container: {error.filename}: {error.strerror}\n")
        return 125
    if not spec.get("remove"):
        try:
            os.execvpe(line[0], line, environment)
        except OSError as error:
            sys.stderr.write(f"cannot run {line[0]}: {error.strerror}\n")
            return 127 if isinstance(error, FileNotFoundError) else 126
    early: list[int] = []  # signals that came while the engine may not have passed any on yet
    began = time.monotonic()

    def heard(number: int, frame: object) -> None:
        """The engine, in our process group, gets it too."""
        if time.monotonic() - began < _STARTS:
            early.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, heard)
    lifeline = watch(spec["remove"], _of_its_own(environment))
    try:
        process = subprocess.Popen(line, env=environment)
    except OSError as error:
        os.write(lifeline, b"over")
        sys.stderr.write(f"cannot run {line[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126
    os.write(lifeline, b"%d" % process.pid)
    code = _wait(process, early, began)
    if code >= 0 and code not in (125, 137):
        os.write(lifeline, b"over")
        return code
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], early: list[int], began: float) -> int:
    """Its exit code; signals that an engine may have swallowed as it started are given to it once more."""
    while time.monotonic() - began < _STARTS:
        try:
            return process.wait(_STARTS)
        except subprocess.TimeoutExpired:
            for number in early:
                process.send_signal(number)
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
