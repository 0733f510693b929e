"""Values as far as they are known before a run.

A value is what JSON has, or UNKNOWN; lists and records may hold UNKNOWN at any depth, so that the length of an array
can be known where its elements aren't (the outputs of a scatter over three samples are three unknown files).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit


class _Unknown:
    """The type of UNKNOWN."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
"""A value that only the run will tell."""


def is_known(value: Any) -> bool:
    """Whether a value is known to its last leaf."""
    if isinstance(value, Mapping):
        return all(is_known(v) for v in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(is_known(v) for v in value)
    return value is not UNKNOWN


def from_document(value: Any, base: str) -> Any:
    """A value of an inputs file or a default, with what is known of its files.

    Args:
        value: as the YAML has it, or as cwl-utils parsed it, with its own objects for files.
        base: the URI that relative locations refer to.

    Returns:
        The same in plain lists and dicts. Files have their `basename`, `nameroot`, `nameext` and, where they are
        local and there, their `size` in bytes; all else of them is settled by the run (CWL 1.2, File).
    """
    if getattr(value, "class_", None) in ("File", "Directory"):
        value = {"class": value.class_, **{k: v for k, v in vars(value).items() if v is not None}}
    if isinstance(value, Mapping):
        if value.get("class") == "File":
            return _file(value, base)
        if value.get("class") == "Directory":
            return {"class": "Directory", "basename": _basename(value), **_by_run("location", "path", "listing")}
        if "$import" in value or "$include" in value:
            return UNKNOWN
        return {str(k): from_document(v, base) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [from_document(v, base) for v in value]
    return value


def _file(value: Mapping[str, Any], base: str) -> dict[str, Any]:
    name = _basename(value)
    known: dict[str, Any] = {"class": "File", "basename": name, **_by_run("nameroot", "nameext", "size")}
    if isinstance(name, str):
        known["nameroot"], known["nameext"] = os.path.splitext(name)
    location = value.get("location", value.get("path"))
    if isinstance(location, str):
        parts = urlsplit(urljoin(base, location))
        if parts.scheme in ("", "file") and os.path.isfile(path := unquote(parts.path)):
            known["size"] = os.path.getsize(path)
    elif isinstance(contents := value.get("contents"), str):
        known["size"] = len(contents.encode())
    return known | _by_run("location", "path", "dirname", "contents", "checksum", "secondaryFiles", "format")


def _basename(value: Mapping[str, Any]) -> Any:
    location = value.get("location", value.get("path"))
    if isinstance(name := value.get("basename"), str):
        return name
    return unquote(location.rstrip("/").rsplit("/", 1)[-1]) if isinstance(location, str) else UNKNOWN


def _by_run(*keys: str) -> dict[str, Any]:
    return dict.fromkeys(keys, UNKNOWN)


@dataclass
class Port:
    """What the executions of a process get through one port: a value for each, and the steps that make them.

    Attributes:
        compute: the values, one for each execution; called at most once, and only when someone asks: an expression
            that decides nothing is never evaluated.
        producers: the names of the steps that have to be over before the values are there.
    """

    compute: Callable[[], list[Any]]
    producers: frozenset[str] = field(default_factory=frozenset)

    @cached_property
    def values(self) -> list[Any]:
        """The values, one for each execution."""
        return self.compute()

    def waiting_for(self, producers: frozenset[str]) -> Port:
        """The same values, once these other steps are over too."""
        return Port(lambda: self.values, self.producers | producers)


def constant(value: Any, count: int, producers: frozenset[str] = frozenset()) -> Port:
    """A port through which every one of `count` executions gets the same value."""
    return Port(lambda: [value] * count, producers)


def merged(ports: Sequence[Port], count: int, link_merge: str | None, pick_value: str | None) -> Port:
    """Several sources linked to one input (CWL 1.2, 4.1.2: `linkMerge`, `pickValue`).

    Args:
        ports: at least one; `count` values each.
        count: executions.
        link_merge: `merge_nested` (also where absent) or `merge_flattened`.
        pick_value: `first_non_null`, `the_only_non_null`, `all_non_null` or absent.
    """

    def one(values: list[Any]) -> Any:
        if link_merge == "merge_flattened":
            if any(v is UNKNOWN for v in values):
                return UNKNOWN
            values = [e for v in values for e in (v if isinstance(v, list) else [v])]
        return picked(values, pick_value)

    return Port(
        lambda: [one(list(values)) for values in zip(*(p.values for p in ports), strict=True)] if count else [],
        frozenset().union(*(p.producers for p in ports)),
    )


def picked(values: Any, pick_value: str | None) -> Any:
    """What `pickValue` makes of one list; an unknown element may be null."""
    if pick_value is None or values is UNKNOWN or not isinstance(values, list):
        return values
    if pick_value == "all_non_null":
        return UNKNOWN if any(v is UNKNOWN for v in values) else [v for v in values if v is not None]
    return next((v for v in values if v is not None), UNKNOWN)
