"""A job as Flux's jobspec (RFC 14, RFC 25), with its redirections.

Flux's shell can redirect and store output by itself, but it makes JSON of every line (a task that prints short lines
gets 1 MB/s), keeps no order between standard output and error in one file, and its paths are templates and must be
UTF-8; its ``input.stdin.path`` costs a job half a second (flux-core 0.88), and without it a job that reads waits for
ever. So tasks redirect through ``/bin/sh``, which then replaces itself with the command: same process, direct file
descriptors, about a millisecond. Output that nobody redirected goes through ``tail``, and its end only to Flux. What
several tasks, perhaps on several nodes, write to one file is left to Flux's shell.
"""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backends.measuring import measured
from streamflow_fluxop.agent.system.processes import to_bytes, to_text
from streamflow_fluxop.agent.wire.protocol import OUTPUT_KEPT

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest

KVS_OUTPUT = 1 << 20
"""Bytes of each output stream of all tasks that Flux's shell stores, before it drops what follows and says so."""

CAPTURED = OUTPUT_KEPT + 1
"""Bytes of each task's output that reach Flux; one more than is kept, to see that there were more."""

_OURS = ("FLUX_JOB_", "FLUX_TASK_", "PMI_", "FLUX_SHELL_", "FLUXOP_SESSION")
# an agent that is itself a job must not lend these
_LABEL = "fluxop"  # in the attributes that are the user's (RFC 14)


class NotForFlux(Exception):
    """Flux cannot run the job; the text says why."""


def jobspec(
    request: JobRequest,
    *,
    nodes: int | None,
    environment: Mapping[str, str],
    shell_options: Mapping[str, Any],
    label: Mapping[str, str] | None = None,
    whole_seconds: bool = False,
    measure: bool = False,
) -> str:
    """Encode a job.

    Args:
        request: the job.
        nodes: what to ask for, see `node_allocation.nodes_wanted`.
        environment: the whole of it; names and values are UTF-8.
        shell_options: of the Flux shell, added to ours.
        label: by which another agent finds the job, see `label_of`.
        measure: let each task tell what it used, see `measuring`.
        whole_seconds: round the time limit up: Fluxion cuts fractions off, and 0 is no limit.

    Raises:
        NotForFlux: it cannot be expressed.
    """
    # line by line, the default for stdout, would make a JSON object of each line
    unbuffered = {"buffer": {"type": "none"}}
    options: dict[str, Any] = {
        **shell_options,
        "output": {"limit": KVS_OUTPUT, "stdout": {**unbuffered}, "stderr": {**unbuffered}},
    }
    argv, environment = list(request.argv), dict(environment)
    cwd = request.cwd if request.cwd is not None else os.getcwd()
    paths = [path for path in (request.stdin, request.stdout, request.stderr) if path is not None]
    plain = _is_plain(*argv, *paths, cwd, *environment, *environment.values())
    script = _script(request)
    limit = request.time_limit or 0
    if request.tasks > 1:
        if not plain:
            raise NotForFlux(
                "Flux takes only UTF-8 in the command, environment and directory of a job of several tasks"
            )
        for stream, path in (("stdout", request.stdout), ("stderr", request.stderr)):
            options["output"][stream].update({"type": "kvs"} if path is None else _file(os.path.join(cwd, path)))
    if plain:
        argv = ["/bin/sh", "-c", script, "sh", *argv]
    else:
        odd = {name: value for name, value in environment.items() if not _is_plain(name, value)}
        environment = {name: value for name, value in environment.items() if name not in odd}
        exports = " ".join(f"export {name}={shlex.quote(value)};" for name, value in odd.items())
        words = " ".join(map(shlex.quote, argv))
        argv = _in_octal(f"cd {shlex.quote(cwd)} || exit 1; {exports} set -- {words}; {script}")
        cwd = "/"
    if measure:
        argv = measured(argv, request)
    return json.dumps(
        {
            "version": 1,
            "resources": [_resources(request, nodes)],
            "tasks": [{"command": argv, "slot": "task", "count": _count(request, nodes)}],
            "attributes": {
                "system": {
                    "duration": math.ceil(limit) if whole_seconds else limit,
                    "cwd": cwd,
                    "environment": environment,
                    "shell": {"options": options},
                    **({"constraints": _only_on(request.ranks)} if request.ranks else {}),
                    "job": {"name": _printable(request.name)[:200] or os.path.basename(_printable(request.argv[0]))},
                },
                **({"user": {_LABEL: label}} if label else {}),
            },
        }
    )


def label_of(spec: Mapping[str, Any]) -> Mapping[str, str]:
    """The label in a job's specification; empty where somebody else made it."""
    found: Any = spec
    for name in ("attributes", "user", _LABEL):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def base_environment() -> dict[str, str]:
    """The agent's own environment, as far as it is a job's business."""
    return {to_text(name): to_text(value) for name, value in os.environb.items() if not to_text(name).startswith(_OURS)}


def _resources(request: JobRequest, nodes: int | None) -> dict[str, Any]:
    children = [{"type": "core", "count": request.cores_per_task}]
    if request.gpus_per_task:
        children.append({"type": "gpu", "count": request.gpus_per_task})
    count = request.tasks if nodes is None else -(-request.tasks // nodes)
    slot = {"type": "slot", "label": "task", "count": count, "with": children}
    if nodes is None:
        return slot
    node: dict[str, Any] = {"type": "node", "count": nodes, "with": [slot]}
    if request.exclusive:
        node["exclusive"] = True
    return node


def _only_on(ranks: Sequence[int]) -> dict[str, Any]:
    """RFC 31: one of these broker ranks."""
    return {"ranks": [",".join(map(str, sorted(ranks)))]}


def _count(request: JobRequest, nodes: int | None) -> dict[str, int]:
    if nodes is not None and request.tasks % nodes:
        return {"total": request.tasks}  # one node's slots are not all used
    return {"per_slot": 1}


def _script(request: JobRequest) -> str:
    """``exec "$@"`` with redirections, and ``tail`` behind what is not redirected."""
    alone = request.tasks == 1  # else Flux's shell writes the files
    run = f'exec "$@" <{shlex.quote(request.stdin or os.devnull)}'
    stdout = "" if request.stdout is None else f" >{shlex.quote(request.stdout)}" if alone else " >&4"
    if request.stderr is None:
        stderr = ""
    elif not alone:
        stderr = " 2>&5"
    else:
        stderr = " 2>&1" if request.stderr == request.stdout else f" 2>{shlex.quote(request.stderr)}"
    if stdout and stderr:
        return run + stdout + stderr if alone else run
    # 3 takes the exit code past tail, 4 and 5 are stdout and stderr as we have them. The signals that end a job must
    # not end tail before it has said what it knows.
    redirected = stderr if not stdout else f" 2>&1{stdout}"
    if not stdout and not stderr:
        redirected = " 2>&1"
    sink = 5 if stdout else 4
    command = f"({run}{redirected} 3>&- 4>&- 5>&-); echo $? >&3"
    tail = f"trap '' TERM ALRM; exec tail -c {CAPTURED} >&{sink} 3>&- 4>&- 5>&-"
    return f"exec 4>&1 5>&2; code=$({{ {{ {command}; }} | {{ {tail}; }}; }} 3>&1); exit $code"


def _in_octal(script: str) -> list[str]:
    """A shell that runs `script`, in ASCII: Flux's JSON holds UTF-8 only."""
    octal = "".join(f"\\0{byte:03o}" for byte in to_bytes(script))
    return ["/bin/sh", "-c", f"eval \"$(printf '%b' '{octal}')\""]


def _file(path: str) -> dict[str, str]:
    return {"type": "file", "path": path}


def _is_plain(*texts: str) -> bool:
    """Whether it is UTF-8, and no mustache template, which Flux's shell would expand (flux-submit(1))."""
    return not any("{{" in text or any("\udc80" <= char <= "\udcff" for char in text) for text in texts)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
