"""Loads YAML and JSON, and finds the line of what stands in it when a message needs it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from streamflow_fluxop.bounded import JSON_MOST, YAML_MOST, load_json, load_yaml, read_bytes, read_text, to_text
from streamflow_fluxop.cwl.source_location import line_of
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.explain import explain
from streamflow_fluxop.sources.shared import decode

M = TypeVar("M", bound=BaseModel)

_FINDABLE = 2**20
"""Bytes of a file in which lines are looked up: it takes a second a MiB."""


@dataclass(frozen=True)
class Loaded:
    """A file's content.

    Attributes:
        path: as the user typed it.
        data: what is in it, as plain Python values.
    """

    path: Path
    data: Any

    def where(self, *keys: str | int) -> str:
        """The place of a key, such as ``wf.yml:12: steps[3].needs``; without the line where nobody knows it."""
        node, line, words = self._lines, None, ""
        for key in keys:
            words += f"[{key}]" if isinstance(key, int) else f".{key}" if words else str(key)
            inside = isinstance(node, dict) and key in node
            inside |= isinstance(node, list) and isinstance(key, int) and 0 <= key < len(node)
            line = (line_of(node, key) if inside else None) or line
            node = node[key] if inside else None
        return ": ".join(filter(None, [f"{self.path}:{line}" if line else str(self.path), words]))

    @cached_property
    def _lines(self) -> Any:
        if self.path.stat().st_size > _FINDABLE:
            return None
        from ruamel.yaml.error import YAMLError

        try:
            return load_yaml(read_text(self.path), "rt")
        except (YAMLError, UserError):  # JSON with tabs, say
            return None

    def check(self, model: type[M], *keys: str | int) -> M:
        """The document, or the part of it at `keys`, checked.

        Raises:
            UserErrors: every mistake, with its place and what would be right.
        """
        data = self.data
        for key in keys:
            data = data[key]
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise UserErrors(explain(error, model, self.where, *keys)) from None


def load(path: Path) -> Loaded:
    """Read a YAML or JSON file whose top is a mapping.

    Raises:
        UserError: it can't be read, is neither YAML nor JSON, or no mapping.
    """
    is_json = path.suffix.lower() == ".json"
    content = read_bytes(path, JSON_MOST if is_json else YAML_MOST)
    if is_json and (document := decode(content)) is not None:
        return Loaded(path, document)
    text = to_text(content, str(path))
    data = _json(path, text) if is_json else _yaml(path, text)
    if not isinstance(data, dict):
        raise UserError("is no mapping", where=str(path), fix="Write it as `key: value` lines.")
    return Loaded(path, data)


def _json(path: Path, text: str) -> Any:
    try:
        return load_json(text)
    except json.JSONDecodeError as error:
        raise UserError(f"is no valid JSON: {error.msg}", where=f"{path}:{error.lineno}") from None
    except ValueError as error:
        raise UserError(f"is no valid JSON: {error}", where=str(path)) from None


def _yaml(path: Path, text: str) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return load_yaml(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"is no valid YAML: {error.problem or error.context}", where=where) from None
    except YAMLError as error:
        raise UserError(f"is no valid YAML: {error}", where=str(path)) from None
