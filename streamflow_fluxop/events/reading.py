"""Reading event logs, also while they are written and after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events.controller import is_alive
from streamflow_fluxop.events.event_types import Event, FleetStarted, MiniClusterAsked, RunStarted
from streamflow_fluxop.events.writing import runs_folder

_LINES = TypeAdapter(list[Annotated[Event, Field(discriminator="event")]])
_CHUNK = 2**22
_TAIL = 4096


class Follower:
    """A log that may grow while it is read.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._line = 0
        self._at = 0.0
        self._flavours: dict[str, Iterable[str]] = {}  # by fleet

    def new(self) -> Iterator[Event]:
        """The events that were not there last time. A last line that is not whole is left for the next time.

        Raises:
            UserError: the file is not there, or is no event log of this version.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                rest = b""
                while chunk := file.read(_CHUNK):
                    whole, newline, rest = (rest + chunk).rpartition(b"\n")
                    if newline:
                        yield from self._events(whole.split(b"\n"))
                        self._offset += len(whole) + 1
        except OSError as error:
            raise UserError(f"can't be read: {error.strerror}", where=str(self.path)) from None

    def _events(self, lines: list[bytes]) -> list[Event]:
        lines = [line if line.strip() else b"null" for line in lines]  # an empty one is as wrong as any other
        try:
            events = _LINES.validate_json(b"[" + b",".join(lines) + b"]")
        except ValidationError:
            self._find_broken(lines)
            raise
        if self._line == 0 and not isinstance(events[0], RunStarted):
            raise UserError("is no event log: it begins with something else than the run's start", where=str(self.path))
        for number, event in enumerate(events, self._line + 1):
            self._check(event, number)
        self._line += len(lines)
        return events

    def _check(self, event: Event, number: int) -> None:
        """That what follows can be computed with it, whoever wrote to the file."""
        wrong = None
        if event.at < self._at:
            wrong = f"it is at {event.at:g} s, and the event before it at {self._at:g} s"
        elif isinstance(event, FleetStarted):
            self._flavours[event.deployment] = event.flavours
        elif isinstance(event, MiniClusterAsked) and event.flavour not in self._flavours.get(event.deployment, ()):
            wrong = f"the fleet {event.deployment} has no flavour {event.flavour}"
        if wrong:
            raise UserError(f"the log is damaged: {wrong}", where=f"{self.path}:{number}")
        self._at = event.at

    def _find_broken(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, self._line + 1):
            try:
                _LINES.validate_json(b"[" + line + b"]")
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False)[0]
                field = ".".join(str(part) for part in first["loc"][2:])
                raise UserError(
                    f"no event that this version of fluxop knows: {field + ': ' if field else ''}{first['msg']}",
                    where=f"{self.path}:{number}",
                    fix="Read it with the version that wrote it.",
                ) from None


def read_events(path: Path) -> Iterator[Event]:
    """All events of a log.

    Raises:
        UserError: see `Follower.new`.
    """
    return Follower(path).new()


def logs(folder: Path | None = None) -> list[Path]:
    """The logs of this user's runs (or those in another folder), the newest first."""
    return sorted((folder or runs_folder()).glob("*.jsonl"), key=lambda path: path.name, reverse=True)


def running_logs() -> list[Path]:
    """The logs of this user's runs whose controllers are alive on this machine, the newest first."""
    return [path for path in logs() if is_going(path)]


def is_going(path: Path) -> bool:
    """Whether the controller is alive and the last line is no end: only both ends of the file are read."""
    started = beginning(path)
    if started is None or not is_alive(started):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        last = file.read().splitlines()[-1:]
    return not (last and b'"event":"run-ended"' in last[0])


def beginning(path: Path) -> RunStarted | None:
    """The first event of a log, without reading more; None: there is none, or of another version."""
    try:
        with path.open("rb") as file:
            return RunStarted.model_validate_json(file.readline())
    except (OSError, ValidationError):
        return None


def find_log(run: str) -> Path:
    """The log of a run: a path, or a run's id, or the beginning of one that no other run has.

    Raises:
        UserError: there is none, or more than one.
    """
    path = Path(run)
    if path.suffix == ".jsonl" or os.sep in run:
        if not path.is_file():
            raise UserError("there is no such file", where=run)
        return path
    found = [log for log in logs() if log.stem.startswith(run)]
    exact = [log for log in found if log.stem == run]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        some = ", ".join(log.stem for log in found[:5])
        raise UserError(f"{len(found)} runs begin with {run!r}: {some}", fix="Write more of the one that you mean.")
    raise UserError(f"there is no run {run!r} in {runs_folder()}", fix="`fluxop runs` lists them.")


def newest_log() -> Path:
    """The log of the run that was started last.

    Raises:
        UserError: there is none.
    """
    found = logs()
    if not found:
        raise UserError(
            f"there is no run in {runs_folder()}",
            fix="`fluxop run streamflow.yml` starts one; $FLUXOP_RUNS names another folder.",
        )
    return found[0]
