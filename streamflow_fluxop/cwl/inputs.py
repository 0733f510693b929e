"""Checks the inputs file against what a workflow declares, as StreamFlow would only during the run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from streamflow_fluxop.bounded import MIB, load_yaml, read_text
from streamflow_fluxop.cwl.documents import Process
from streamflow_fluxop.cwl.places import last, line_of, shown
from streamflow_fluxop.cwl.types import said, shortly, suits
from streamflow_fluxop.cwl.values import from_document
from streamflow_fluxop.errors import UserError

_FINDABLE = MIB
"""Bytes of a file in which lines are looked up: it takes a second a MiB."""


def check_inputs(process: Process, given: Mapping[str, Any], path: str | None, *, all_given: bool) -> list[UserError]:
    """Every mistake in the inputs of a workflow or tool.

    Args:
        process: that is run.
        given: the inputs file, as it was read.
        path: of that file; None where there is none.
        all_given: whether every input without default, and every file, has to be there.
    """
    found = list(_mistakes(process, given, path, all_given))
    if not found:
        return []
    lines = _lines(path)
    file = shown(path) if path is not None else process.file
    return [_placed(error, file, lines) for error in found]


def _mistakes(process: Process, given: Mapping[str, Any], path: str | None, all_given: bool) -> Iterator[UserError]:
    declared = {last(i.id): i for i in process.cwl.inputs}
    base = _uri(path) if path is not None else ""
    for name, port in declared.items():
        value = given.get(name)
        if value is None and port.default is not None:
            continue
        wanted = said(port.type_)
        if name not in given and not suits(None, port.type_):
            if all_given:
                close = [n for n in get_close_matches(name, given, n=1) if n not in declared]
                fix = f"Is it {close[0]!r} there?" if close else f"Give it a value of type {wanted}."
                where = "in the inputs" if path is not None else "and there is no inputs file (`settings`)"
                yield UserError(f"the input {name!r} is missing {where}", where="", fix=fix)
        elif not suits(from_document(value, base), port.type_):
            yield UserError(f"{shortly(value)} is not of type {wanted}", where=name)
        elif all_given:
            yield from (
                UserError(f"there is no file or directory {missing}", where=name, fix="Relative names start there.")
                for missing in _missing_files(value, base)
            )


def _missing_files(value: Any, base: str) -> Iterator[str]:
    if isinstance(value, list):
        for element in value:
            yield from _missing_files(element, base)
    elif isinstance(value, Mapping):
        location = value.get("location", value.get("path"))
        if value.get("class") in ("File", "Directory") and isinstance(location, str):
            parts = urlsplit(urljoin(base, location))
            if parts.scheme == "file" and not os.path.exists(unquote(parts.path)):
                yield unquote(parts.path)
        elif "class" not in value:
            for element in value.values():
                yield from _missing_files(element, base)


def _uri(path: str) -> str:
    return path if "://" in path else f"file://{os.path.realpath(path)}"


def _lines(path: str | None) -> Any:
    """The inputs with their line numbers; None where that file is not on this machine."""
    from ruamel.yaml.error import YAMLError

    if path is None or not os.path.isfile(path):
        return None
    try:
        return load_yaml(read_text(path, _FINDABLE), "rt")
    except (UserError, YAMLError):  # too large to look for lines in; JSON with tabs
        return None


def _placed(error: UserError, file: str, lines: Any) -> UserError:
    key = error.where or None
    line = line_of(lines, key) if key else None
    where = f"{file}:{line}" if line else file
    return UserError(error.what, where=f"{where}: {key}" if key else where, fix=error.fix)
