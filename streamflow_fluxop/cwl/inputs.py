"""Checks the inputs file against what a workflow declares, as StreamFlow would only during the run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from streamflow_fluxop.bounded import MIB, load_yaml, read_text
from streamflow_fluxop.cwl.known_values import from_document
from streamflow_fluxop.cwl.parsed_documents import Process
from streamflow_fluxop.cwl.source_location import last, line_of, shown
from streamflow_fluxop.cwl.types import said, shortly, suits
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
            for way, what, remedy in wrong_files(value, base):
                yield UserError(what, where=".".join(map(str, (name, *way))), fix=remedy)


_SOURCES = ("location", "path", "contents", "listing")


def wrong_files(value: Any, base: str) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
    """The files and directories in a value that a run could not read: the way to each, what is wrong, and a remedy.

    Args:
        value: of an input.
        base: what relative names start from, as a URI.
    """
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from (((index, *way), *rest) for way, *rest in wrong_files(element, base))  # type: ignore[misc]
        return
    if not isinstance(value, Mapping):
        return
    if value.get("class") in ("File", "Directory"):
        yield from _wrong_file(value, base)
        inner: Mapping[str, Any] = {k: value[k] for k in ("secondaryFiles", "listing") if k in value}
    else:
        inner = value
    for key, element in inner.items():
        yield from (((str(key), *way), *rest) for way, *rest in wrong_files(element, base))  # type: ignore[misc]


def _wrong_file(value: Mapping[str, Any], base: str) -> Iterator[tuple[tuple[str | int, ...], str, str | None]]:
    kind = value["class"]
    key = "location" if "location" in value else "path"
    location = value.get(key)
    if location is None:
        if not any(key in value for key in _SOURCES):
            fix = "Write `path: …`; relative names start at this file."
            yield (), f"the {kind} has neither `location` nor `path`", fix
        return
    if not isinstance(location, str):
        yield (key,), f"{shortly(location)} is no name of a {kind.lower()}", None
        return
    parts = urlsplit(urljoin(base, location))
    path = unquote(parts.path)
    if parts.scheme != "file":
        return
    if not os.path.exists(path):
        yield (key,), f"there is no file or directory {path}", "Relative names start there."
    elif kind == "File" and os.path.isdir(path):
        yield (key,), f"{path} is a directory", "Write `class: Directory`, or name a file."
    elif kind == "Directory" and not os.path.isdir(path):
        yield (key,), f"{path} is no directory", "Write `class: File`, or name a directory."


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
    """The error with the line of the innermost thing that its way leads to."""
    key = error.where or None
    line, node = None, lines
    whole = isinstance(lines, Mapping) and key in lines  # a name may have dots
    for part in [key] if key and whole else key.split(".") if key else []:
        step: str | int = int(part) if isinstance(node, list) and part.isdigit() else part
        line = line_of(node, step) or line
        inside = isinstance(node, Mapping) and step in node
        node = node[step] if inside or (isinstance(node, list) and isinstance(step, int)) else None
    words = re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", key) if key else None
    where = f"{file}:{line}" if line else file
    return UserError(error.what, where=f"{where}: {words}" if words else where, fix=error.fix)
