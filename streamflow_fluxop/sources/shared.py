"""Reads our JSON documents with equal parts of their steps read once.

Steps that wait for the same ones say so in the same words, and 100 000 steps may have ten million dependencies. So what
a step waits for, and needs, is left as text at first. Equal texts are read once, and their steps share what comes out.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from pydantic import ValidationError

from streamflow_fluxop.model import Dependencies, Dependency, Document, Needs, Plan, Problem, Step, Workflow

LONG = 2_000
"""Bytes from which on a list of dependencies is cut into parts."""
_BETWEEN = re.compile(rb'(\[\s*\{\s*"step"\s*:\s*")[^"\\]*("[^{}]*\})(\s*,\s*\{\s*"step"\s*:\s*")')
"""What stands before, after and between the names of a list."""


def decode(text: bytes) -> dict[str, Any] | None:
    """The content of a workflow, a problem or a plan; None where it is none of them, or something is wrong with it.

    It is plain values, which the document's class has yet to check. Only `needs` and `after` of the steps are checked
    already.
    """
    for kind in (_Problem, _Workflow, _Plan):
        try:
            return _plain(msgspec.json.decode(text, type=kind), _Parts())
        except (msgspec.MsgspecError, ValidationError):
            continue
    return None


def _mapping(model: type[Document], **types: Any) -> Any:
    """What has the keys of a document, any of them, and no other; plain values, except those whose type is given."""
    fields = [(name, types.get(name, Any) | msgspec.UnsetType, msgspec.UNSET) for name in model.model_fields]
    return msgspec.defstruct(model.__name__, fields, forbid_unknown_fields=True, gc=False)


_Step = _mapping(Step, needs=msgspec.Raw, after=msgspec.Raw)
_Workflow = _mapping(Workflow, steps=list[_Step])  # type: ignore[valid-type]  # it is a class
_Problem = _mapping(Problem, workflow=_Workflow)
_Plan = _mapping(Plan, problem=_Problem)


class _Dependency(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    step: str
    each: bool = False


_dependencies = msgspec.json.Decoder(list[_Dependency])


class _Parts:
    """Equal parts of steps, by their text.

    Long lists are cut after the names that end in 0: so lists with a stretch in common have most of its parts in
    common, wherever it begins (content-defined chunking: Muthitacharoen, Chen, Mazieres 2001).
    """

    def __init__(self) -> None:
        self._needs: dict[bytes, Needs] = {}
        self._lists: dict[bytes, Dependencies] = {}
        self._parts: dict[bytes, tuple[Dependency, ...]] = {}
        self._plain = _Made(False)
        self._each = _Made(True)

    def needs(self, text: bytes) -> Needs:
        found = self._needs.get(text)
        if found is None:
            found = self._needs[text] = Needs.model_validate(msgspec.json.decode(text))
        return found

    def after(self, text: bytes) -> Dependencies:
        found = self._lists.get(text)
        if found is None:
            found = self._lists[text] = Dependencies(self._cut(text))
        return found

    def _cut(self, text: bytes) -> list[tuple[Dependency, ...]]:
        between = _BETWEEN.match(text) if len(text) > LONG else None
        if between is None:
            return [self._part(text)]
        begin, end, then = between.groups()
        *inner, last = text[len(begin) :].split(b"0" + end + then)
        cut = b"0" + end + b"]"
        return [self._part(begin + names + cut) for names in inner] + [self._part(begin + last)]

    def _part(self, text: bytes) -> tuple[Dependency, ...]:
        found = self._parts.get(text)
        if found is None:
            plain, each = self._plain, self._each
            found = tuple([each[d.step] if d.each else plain[d.step] for d in _dependencies.decode(text)])
            self._parts[text] = found
        return found


class _Made(dict[str, Dependency]):
    """One dependency for all that wait for the same step."""

    def __init__(self, each: bool) -> None:
        self._each = each

    def __missing__(self, step: str) -> Dependency:
        made = self[step] = Dependency(step=step, each=self._each)
        return made


def _plain(found: msgspec.Struct, parts: _Parts) -> dict[str, Any]:
    """A mapping as a dictionary, and the mappings inside it."""
    data = {k: v for k, v in msgspec.structs.asdict(found).items() if v is not msgspec.UNSET}
    for key, value in data.items():
        if isinstance(value, msgspec.Struct):
            data[key] = _plain(value, parts)
    if isinstance(found, _Workflow) and "steps" in data:
        data["steps"] = [_step(s, parts) for s in data["steps"]]
    return data


def _step(found: msgspec.Struct, parts: _Parts) -> dict[str, Any]:
    data = {k: v for k, v in msgspec.structs.asdict(found).items() if v is not msgspec.UNSET}
    if "needs" in data:
        data["needs"] = parts.needs(bytes(data["needs"]))
    if "after" in data:
        data["after"] = parts.after(bytes(data["after"]))
    return data
