"""A job as Flux's jobspec (RFC 14, RFC 25), with its redirections.

Flux's shell can redirect by itself (``output.stdout.path``), but it copies every byte through a pipe and JSON, keeps no
order between standard output and error in one file, and its paths are templates and must be UTF-8. Its
``input.stdin.path`` costs a job half a second (flux-core 0.88), and without it a job that reads waits for ever. So a task
redirects through ``/bin/sh``, which then replaces itself with the command: same process, direct file descriptors, about
a millisecond. Only what several tasks, perhaps on several nodes, write to one file is left to Flux.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.processes import to_bytes, to_text

if TYPE_CHECKING:
    from streamflow_fluxop.agent.protocol import JobRequest

KVS_OUTPUT = 1 << 20
"""Bytes of each output stream that Flux's shell stores; it then keeps the first ones, and logs how many it dropped."""

_OURS = ("FLUX_JOB_", "FLUX_TASK_", "PMI_", "FLUX_SHELL_")  # an agent that is itself a job must not lend these


class NotForFlux(Exception):
    """Flux cannot run the job; the text says why."""


def jobspec(
    request: JobRequest, *, nodes: int | None, environment: Mapping[str, str], shell_options: Mapping[str, Any]
) -> str:
    """Encode a job.

    Args:
        request: the job.
        nodes: what to ask for, see `placement.nodes_wanted`.
        environment: the whole of it; names and values are UTF-8.
        shell_options: of the Flux shell, added to ours.

    Raises:
        NotForFlux: it cannot be expressed.
    """
    options: dict[str, Any] = {"output": {"limit": KVS_OUTPUT}, "rlimit": {}}
    options.update(json.loads(json.dumps(dict(shell_options))))
    argv, environment = list(request.argv), dict(environment)
    cwd = request.cwd if request.cwd is not None else os.getcwd()
    plain = _is_text(*argv, cwd, *environment, *environment.values())
    script = _script(request)
    if request.tasks > 1:
        if not plain:
            raise NotForFlux(
                "Flux takes only UTF-8 in the command, environment and directory of a job of several tasks"
            )
        for stream, path in (("stdout", request.stdout), ("stderr", request.stderr)):
            if path is not None:
                options["output"][stream] = {"type": "file", "path": _template(path, cwd)}
        if request.stderr is None:
            options["output"]["stderr"] = {"type": "kvs"}  # else it would follow stdout
    if plain:
        argv = ["/bin/sh", "-c", script, "sh", *argv]
    else:
        odd = {name: value for name, value in environment.items() if not _is_text(name, value)}
        environment = {name: value for name, value in environment.items() if name not in odd}
        exports = " ".join(f"export {name}={shlex.quote(value)};" for name, value in odd.items())
        words = " ".join(map(shlex.quote, argv))
        argv = _in_octal(f"cd {shlex.quote(cwd)} || exit 1; {exports} set -- {words}; {script}")
        cwd = "/"
    return json.dumps(
        {
            "version": 1,
            "resources": [_resources(request, nodes)],
            "tasks": [{"command": argv, "slot": "task", "count": _count(request, nodes)}],
            "attributes": {
                "system": {
                    "duration": request.time_limit or 0,
                    "cwd": cwd,
                    "environment": environment,
                    "shell": {"options": options},
                    "job": {"name": _printable(request.name)[:200] or os.path.basename(_printable(request.argv[0]))},
                }
            },
        }
    )


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


def _count(request: JobRequest, nodes: int | None) -> dict[str, int]:
    if nodes is not None and request.tasks % nodes:
        return {"total": request.tasks}  # one node's slots are not all used
    return {"per_slot": 1}


def _script(request: JobRequest) -> str:
    """``exec "$@"`` with redirections: the shell is gone before the command starts."""
    script = f'exec "$@" <{shlex.quote(request.stdin or "/dev/null")}'
    if request.tasks > 1:
        return script
    if request.stdout is not None:
        script += f" >{shlex.quote(request.stdout)}"
    if request.stderr is not None:
        script += " 2>&1" if request.stderr == request.stdout else f" 2>{shlex.quote(request.stderr)}"
    return script


def _in_octal(script: str) -> list[str]:
    """A shell that runs `script`, in ASCII: Flux's JSON holds UTF-8 only."""
    octal = "".join(f"\\0{byte:03o}" for byte in to_bytes(script))
    return ["/bin/sh", "-c", f"eval \"$(printf '%b' '{octal}')\""]


def _template(path: str, cwd: str) -> str:
    if "{{" in path or not _is_text(path):
        raise NotForFlux(f"Flux cannot redirect a job of several tasks to {path!r}")
    return os.path.join(cwd, path)


def _is_text(*texts: str) -> bool:
    return not any("\udc80" <= char <= "\udcff" for text in texts for char in text)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
