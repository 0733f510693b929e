"""Checks the inputs file against what a workflow declares, as StreamFlow would only during the run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from streamflow_fluxop.cwl.documents import Process
from streamflow_fluxop.cwl.places import last, line_of, shown
from streamflow_fluxop.cwl.values import UNKNOWN, from_document
from streamflow_fluxop.errors import UserError


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
        wanted = _said(port.type_)
        if name not in given and not _suits(None, port.type_):
            if all_given:
                close = [n for n in get_close_matches(name, given, n=1) if n not in declared]
                fix = f"Is it {close[0]!r} there?" if close else f"Give it a value of type {wanted}."
                where = "in the inputs" if path is not None else "and there is no inputs file (`settings`)"
                yield UserError(f"the input {name!r} is missing {where}", where="", fix=fix)
        elif not _suits(from_document(value, base), port.type_):
            yield UserError(f"{_shortly(value)} is not of type {wanted}", where=name)
        elif all_given:
            yield from (
                UserError(f"there is no file or directory {missing}", where=name, fix="Relative names start there.")
                for missing in _missing_files(value, base)
            )


def _suits(value: Any, kind: Any) -> bool:
    """Whether StreamFlow would take `value` (`cwl/processor.py`, `_check_token_type`); what nobody knows may suit."""
    if value is UNKNOWN:
        return True
    if isinstance(kind, list):
        return any(_suits(value, k) for k in kind)
    match kind if isinstance(kind, str) else kind.type_:
        case "null":
            return value is None
        case "Any":
            return value is not None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float" | "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "File" | "stdin":
            return isinstance(value, Mapping) and value.get("class") == "File"
        case "Directory":
            return isinstance(value, Mapping) and value.get("class") == "Directory"
        case "array":
            return isinstance(value, list) and all(_suits(v, kind.items) for v in value)
        case "record":
            fields = {last(f.name): f.type_ for f in kind.fields or []}
            return isinstance(value, Mapping) and all(_suits(value.get(n), t) for n, t in fields.items())
        case "enum":
            return isinstance(value, str) and value in map(last, kind.symbols)
    return True  # a type by its name, which its own schema defines


def _said(kind: Any) -> str:
    """A type in CWL's words, such as `int?` and `File[]`."""
    if isinstance(kind, list):
        others = [k for k in kind if k != "null"]
        if len(others) == 1 and len(kind) == 2:
            return f"{_said(others[0])}?"
        return " or ".join(map(_said, kind))
    match kind if isinstance(kind, str) else kind.type_:
        case "stdin":
            return "File"
        case "array":
            inner = _said(kind.items)
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case "record":
            fields = ", ".join(f"{last(f.name)}: {_said(f.type_)}" for f in kind.fields or [])
            return f"record of {fields}"
        case "enum":
            return f"enum of {', '.join(map(last, kind.symbols))}"
        case name:
            return last(str(name))


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


def _shortly(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _uri(path: str) -> str:
    return path if "://" in path else f"file://{os.path.realpath(path)}"


def _lines(path: str | None) -> Any:
    """The inputs with their line numbers; None where that file is not on this machine."""
    from ruamel.yaml import YAML

    if path is None or not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return YAML(typ="rt").load(file)


def _placed(error: UserError, file: str, lines: Any) -> UserError:
    key = error.where or None
    line = line_of(lines, key) if key else None
    where = f"{file}:{line}" if line else file
    return UserError(error.what, where=f"{where}: {key}" if key else where, fix=error.fix)
