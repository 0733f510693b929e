"""Where in which file something was said, for messages. CWL's parsed objects know no lines; the YAML does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from streamflow_fluxop.errors import UserError


def shown(uri: str) -> str:
    """A file's URI as a user would type it: a path, relative where that is shorter; other URIs as they are."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return uri
    path = unquote(parts.path)
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def line_of(node: Any, key: Any = None) -> int | None:
    """The line (from 1) where ruamel's round-trip loader found `key` of a mapping or sequence, or the node itself."""
    position = getattr(node, "lc", None)
    if position is None:
        return None
    if key is not None and position.data and key in position.data:
        return int(position.data[key][0]) + 1
    return None if position.line is None else int(position.line) + 1


@dataclass(frozen=True)
class SourceLocation:
    """A spot in a file: `tool.cwl:12`, and in words what stands there.

    Attributes:
        file: the file as a user would type it.
        node: the YAML node that stands there, None where nobody knows it.
        words: such as ``step /analysis: hints.ResourceRequirement``.
        key: of the node, or its index, where the spot is what stands there.
    """

    file: str
    node: Any = None
    words: str = ""
    key: str | int | None = None

    def at(self, key: str) -> str:
        """The place of one key of the node, such as ``tool.cwl:12: step /analysis: hints.X.coresMin``."""
        return _said(self.file, line_of(self.node, key), f"{self.words}.{key}" if self.words else key)

    def __str__(self) -> str:
        return _said(self.file, line_of(self.node, self.key), self.words)


def _said(file: str, line: int | None, words: str) -> str:
    return ": ".join(filter(None, (f"{file}:{line}" if line else file, words)))


def no_yaml(error: Exception, file: str) -> UserError:
    """What a YAML parser says of a file, with its line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or str(error)
    problem = problem.partition(" with value ")[0]  # ruamel shows both values of a key that is there twice
    where = f"{file}:{mark.line + 1}" if mark else file
    return UserError(f"is no valid YAML: {' '.join(problem.split())}", where=where)


def entries(node: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """The entries of a CWL list that may be written as a map (CWL `mapSubject`): class or id, value, container."""
    container = node.get(key) if isinstance(node, Mapping) else None
    if isinstance(container, Mapping):
        for name, value in container.items():
            yield str(name), value, container
    elif isinstance(container, Sequence) and not isinstance(container, str):
        for value in container:
            if isinstance(value, Mapping):
                yield str(value.get("class", value.get("id", ""))), value, value


def entry_place(file: str, node: Any, key: str, name: str, words: str = "") -> SourceLocation:
    """Where the entry `name` of a CWL list or map stands: as a line and in words."""
    words = ": ".join(filter(None, (words, f"{key}.{name}")))
    for entry, value, container in entries(node, key):
        if last(entry) == name:
            return (
                SourceLocation(file, value, words)
                if value is container
                else SourceLocation(file, container, words, entry)
            )
    return SourceLocation(file, None, words)


def last(identifier: str) -> str:
    """The last part of a CWL identifier: `x` of `file:///wf.cwl#main/step/x`, `#x` and `x`."""
    return identifier.rsplit("#", 1)[-1].rsplit("/", 1)[-1]
