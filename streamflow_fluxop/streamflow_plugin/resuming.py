"""The run that another one goes on with: `fluxop run --resume`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events import RunStarted
from streamflow_fluxop.events.reading import beginning, find_log, is_going, logs
from streamflow_fluxop.reuse.results import Scope

NEWEST = ""
"""Asks for the newest run of the same file."""

_RUN_ID = re.compile(r"[0-9]{8}(-[0-9a-f-]*)?")
_asked: ContextVar[str | None] = ContextVar("streamflow_fluxop_resume", default=None)


@dataclass(frozen=True)
class Resumed:
    """A run that another one goes on with.

    Attributes:
        run: its id.
        results: whose results count: its own, and those of the runs that it went on with itself.
    """

    run: str
    results: Scope


def resume(run: str) -> None:
    """Let the run that this context starts go on with another one, or with the `NEWEST` of its file."""
    _asked.set(run)


def taken_out(words: list[str]) -> tuple[str | None, list[str]]:
    """What `--resume` says in a command line, and the words without it; None: it is not there.

    The word after it is a run where it looks like one: it may as well be the StreamFlow file.
    """
    left: list[str] = []
    asked = None
    rest = iter(words)
    for word in rest:
        if word == "--":
            left += [word, *rest]
        elif word.startswith("--resume="):
            asked = word.partition("=")[2]
        elif word == "--resume":
            asked = NEWEST
            following = next(rest, None)
            if following is not None and (_RUN_ID.fullmatch(following) or following.endswith(".jsonl")):
                asked = following
            elif following is not None:
                left.append(following)
        else:
            left.append(word)
    return asked, left


def resumed(file: str | None) -> Resumed | None:
    """The run with which the run of a file is to go on; None: nobody has asked for that.

    Raises:
        UserError: there is none, or it is not over.
    """
    asked = _asked.get()
    if asked is None:
        return None
    path = os.path.abspath(file) if file else None
    started = _newest(path) if asked == NEWEST else beginning(find_log(asked))
    if started is None:
        raise UserError(
            f"there is no run of {path} to go on with", where="--resume", fix="`fluxop runs` lists the runs."
        )
    if is_going(find_log(started.run)):
        raise UserError(
            f"run {started.run} is still going",
            where="--resume",
            fix="Wait until it is over, or end it with Ctrl-C: then what it has done counts.",
        )
    if asked == NEWEST:
        return Resumed(started.run, Scope(file=path))
    return Resumed(started.run, Scope(runs=frozenset(_with_those_before(started))))


def _newest(file: str | None) -> RunStarted | None:
    for path in logs():
        started = beginning(path)
        if started is not None and started.file == file and not started.simulated:
            return started
    return None


def _with_those_before(started: RunStarted | None) -> Iterator[str]:
    seen: set[str] = set()
    while started is not None and started.run not in seen:
        seen.add(started.run)
        yield started.run
        before = started.resumes
        if before is None:
            return
        try:
            started = beginning(find_log(before))
        except UserError:  # its log was removed; its results may still be there
            yield before
            return
