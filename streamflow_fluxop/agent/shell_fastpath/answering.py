"""Answers the small commands that StreamFlow issues around every job without a process.

StreamFlow (0.2: `data/remotepath.py`, `deployment/connector/base.py`, `core/utils.py`) sends some twenty command lines
a job to a remote location: ``mkdir``, ``test -e … && readlink -f …``, ``find … | awk …``, ``sha1sum``, globs. A shell
for each costs milliseconds; looking for itself costs the agent microseconds.

The rule is: **exactly what /bin/sh would have given**: output, exit code, and what it leaves on disk. So a line is
answered only where it has one of the known shapes, and where nothing goes wrong: the real shell decides about every
error, and words it in its own locale. That is why every command here may be carried out twice.

One line is no shell's: ``fluxop-job-files`` with a request in JSON, which is for `job_files.carry_out`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

from streamflow_fluxop.agent.shell_fastpath.answers import Heavy, TimeBudget, Unsure
from streamflow_fluxop.agent.shell_fastpath.changes import chmod, cp, ln, made, mkdir, rm
from streamflow_fluxop.agent.shell_fastpath.queries import cat, checksum, find, glob, head, real_path, sizes, test
from streamflow_fluxop.agent.shell_fastpath.shell_lexer import NotSimple, ShellWord, simple, split
from streamflow_fluxop.agent.system import job_files
from streamflow_fluxop.agent.wire.protocol import CommandResult

__all__ = ["QUICK", "Heavy", "answer"]

QUICK = 200
"""System calls, more or less, that the event loop can wait for."""

JOB_FILES = "fluxop-job-files "
"""How a request for `job_files` begins."""

_SIZE_TAIL = " -type f -exec ls -ln {} \\+ | awk 'BEGIN {sum=0} {sum+=$5} END {print sum}';"
_GLOB_TAIL = """ ; test -e "$1" && printf '%s\\n' "$@" ; :"""
_CHECKSUM_TAIL = " | awk '{print $1}'"

# Shell functions from the environment, and what changes the columns of ls and the rules of GNU tools.
_ODD = ("BASH_FUNC_", "BLOCK_SIZE", "BLOCKSIZE", "LS_BLOCK_SIZE", "QUOTING_STYLE", "TIME_STYLE", "POSIXLY_CORRECT")
_ODD_ENVIRONMENT = any(name.startswith(_ODD) for name in os.environ)


def answer(command: str, budget: int | None = None) -> CommandResult | None:
    """What ``/bin/sh -c command`` gives; None where a real shell has to say.

    Relative paths count from this process's directory. What the command does to files is done, in whole or, where None
    is returned, perhaps in part; it can then be done again.

    Args:
        command: a command line, bytes that are no UTF-8 as ``os.fsdecode`` escapes them.
        budget: system calls that may be spent; None: no limit.

    Raises:
        Heavy: the budget is not enough.
    """
    if _ODD_ENVIRONMENT:
        return None
    try:
        return _answer(command, TimeBudget(budget))
    except (NotSimple, Unsure, OSError, RecursionError):
        return None


def _answer(command: str, budget: TimeBudget) -> CommandResult:
    if command.startswith(JOB_FILES):
        budget.spend(QUICK + 1)
        answer = job_files.carry_out(json.loads(command[len(JOB_FILES) :]))
        return CommandResult(json.dumps(answer, separators=(",", ":")).encode("ascii"), 0)
    line = command.strip(" ")
    if line.endswith(_SIZE_TAIL):
        words = simple(line[: -len(_SIZE_TAIL)])
        if [word.text for word in words[:2]] != ["find", "-L"]:
            raise NotSimple
        return sizes(words[2:], budget)
    if line.endswith(_GLOB_TAIL):
        words = simple(line[: -len(_GLOB_TAIL)])
        if len(words) != 3 or [word.text for word in words[:2]] != ["set", "--"]:
            raise NotSimple
        return glob(words[2], budget)
    if line.endswith(_CHECKSUM_TAIL):
        return checksum(split(line[: -len(_CHECKSUM_TAIL)]), budget)
    parts = split(line)
    if len(parts) == 3 and parts[1] == "&&":
        return made(parts[0], parts[2], budget) or real_path(parts[0], parts[2])
    if len(parts) != 1:
        raise NotSimple
    words = list(parts[0])  # type: ignore[arg-type]
    program = _PROGRAMS.get(words[0].text) if words and not words[0].quoted else None
    if program is None:
        raise NotSimple
    return program(words[1:], budget)


_PROGRAMS: dict[str, Callable[[Sequence[ShellWord], TimeBudget], CommandResult]] = {
    "test": test,
    "mkdir": mkdir,
    "rm": rm,
    "ln": ln,
    "/bin/cp": cp,
    "chmod": chmod,
    "cat": cat,
    "head": head,
    "find": find,
}
