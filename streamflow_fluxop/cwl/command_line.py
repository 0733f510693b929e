"""From a tool's inputs and their values to the words of its command line (CWL 1.2, Command Line Tool, 4.1).

Each binding gives some words and has a key by which they are sorted: the positions on the way to it, array indices
and names of inputs and fields. Where the text leaves a choice, this does what cwltool does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

Key = tuple["int | str", ...]
Evaluate = Callable[[str, Any], Any]
"""Gives the value of an expression, or a text that is none as it is; the second argument is `self`."""

_ANYTHING = {"type": "array", "items": "anything"}
"""A list where the type is Any: each of its items has the whole binding, and lists in them none."""

Type = Any
"""A name, a list of types (a union), or a mapping with `type` (array, record, enum) and maybe an `inputBinding`."""

_FILES = ("File", "Directory")
_INTEGERS = {"int": 32, "long": 64}


@dataclass(frozen=True)
class CommandWord:
    """A word of a command line.

    Args:
        text: as it is to reach the command.
        raw: the tool asks (`shellQuote: false`) that a shell reads it; it counts under ShellCommandRequirement only.
    """

    text: str
    raw: bool = False


@dataclass(frozen=True)
class _Bound:
    key: Key
    value: Any
    binding: Mapping[str, Any]


def command_line(
    arguments: Sequence[Any], inputs: Sequence[Mapping[str, Any]], values: Mapping[str, Any], evaluate: Evaluate
) -> list[CommandWord]:
    """The words that follow `baseCommand`.

    Args:
        arguments: of the tool: texts and bindings.
        inputs: of the tool, in its order: `name`, `type`, `inputBinding`.
        values: of the inputs, by name; a File is a mapping with `class` and `path`.
        evaluate: evaluates expressions.

    Raises:
        ValueError: a position is no whole number, or a File in an argument has no path.
    """
    found = list(_of_fields(inputs, values, (), evaluate))
    for number, argument in enumerate(arguments):
        binding = argument if isinstance(argument, Mapping) else {"valueFrom": argument}
        position = _position(binding, None, evaluate)
        found.append(_Bound((position, number), None, binding))
    found.sort(key=functools.cmp_to_key(lambda a, b: _compare(a.key, b.key)))
    return [
        CommandWord(text, raw=bound.binding.get("shellQuote") is False)
        for bound in found
        for text in _words(bound, evaluate)
    ]


def _of_fields(
    fields: Sequence[Mapping[str, Any]], values: Mapping[str, Any], lead: Key, evaluate: Evaluate
) -> Iterator[_Bound]:
    """Bindings in the inputs of a tool or the fields of a record; of what is null there are none."""
    for field in fields:
        name = field["name"]
        if values.get(name) is not None:
            yield from _bind(field["type"], field.get("inputBinding"), values[name], lead, (name,), evaluate)


def _bind(
    type_: Type, binding: Mapping[str, Any] | None, value: Any, lead: Key, tail: Key, evaluate: Evaluate
) -> Iterator[_Bound]:
    """The bindings in a value of a type: what is nested in it comes behind its own."""
    if isinstance(type_, Sequence) and not isinstance(type_, str):
        # what is inside does not count beside a `valueFrom`
        simple = binding is not None and "valueFrom" in binding
        type_ = "anything" if simple else next((t for t in type_ if fits(t, value)), "anything")
        yield from _bind(type_, binding, value, lead, tail, evaluate)
        return
    if type_ == "Any" and _is_list(value):
        yield from _inside(_ANYTHING, binding, value, lead, tail, evaluate)
        return
    own = None
    if binding is not None:
        own = _Bound((*lead, *_level(binding, value, evaluate), *tail), value, binding)
        yield own
    if isinstance(type_, str) or (own and "valueFrom" in own.binding):
        return
    inner = type_.get("inputBinding")
    if inner is None and own and type_["type"] == "array" and "itemSeparator" not in own.binding:
        inner = {}
    for nested in _inside(type_, inner, value, lead, tail, evaluate):
        yield _Bound((*own.key, *nested.key), nested.value, nested.binding) if own else nested


def _inside(
    type_: Mapping[str, Any],
    binding: Mapping[str, Any] | None,
    value: Any,
    lead: Key,
    tail: Key,
    evaluate: Evaluate,
) -> Iterator[_Bound]:
    """Bindings in a value of an array, record or enum, whose type has a binding of its own.

    That of an array is that of each of its items.
    """
    level = None if binding is None else (*lead, *_level(binding, value, evaluate), *tail)
    if type_["type"] == "array":
        of_item = None if binding is None else {**binding, "position": level}
        for index, item in enumerate(value):
            yield from _bind(type_["items"], of_item, item, (index,), tail, evaluate)
        return
    if binding is not None and level is not None:
        yield _Bound(level, value, binding)
    if type_["type"] == "record":
        yield from (
            _Bound((*(level or ()), *nested.key), nested.value, nested.binding)
            for nested in _of_fields(type_["fields"], value, lead, evaluate)
        )


def _level(binding: Mapping[str, Any], value: Any, evaluate: Evaluate) -> Key:
    """What a binding's position adds to a key: that of an array, handed down to an item, is a key already."""
    position = binding.get("position")
    return position if isinstance(position, tuple) else (_position(binding, value, evaluate),)


def _position(binding: Mapping[str, Any], value: Any, evaluate: Evaluate) -> int:
    position = binding.get("position") or 0
    if isinstance(position, str):
        expression, position = position, evaluate(position, value)
        if position is None:
            return 0
        if not isinstance(position, int):
            raise ValueError(f"the position {expression} is {position!r}, and must be a whole number")
    return int(position)


def _compare(one: Key, other: Key) -> int:
    """Numbers by size, all else as text; what ends first comes first."""
    for a, b in zip_longest(one, other):
        if a == b:
            continue
        if a is None or b is None:
            return -1 if a is None else 1
        if isinstance(a, str) or isinstance(b, str):
            return 1 if str(a) > str(b) else -1
        return 1 if a > b else -1
    return 0


def _words(bound: _Bound, evaluate: Evaluate) -> list[str]:
    """The words that a binding gives, by the rules of CommandLineBinding."""
    binding, value = bound.binding, bound.value
    if "valueFrom" in binding:
        value = evaluate(binding["valueFrom"], value)
    prefix: str | None = binding.get("prefix")
    flag = [prefix] if prefix else []
    separator = binding.get("itemSeparator")
    if value is None or isinstance(value, bool):
        return flag if value else []
    if isinstance(value, Mapping) and value.get("class") not in _FILES:
        return flag
    if _is_list(value):
        if separator and value:
            text = separator.join(map(as_text, value))
        elif binding.get("valueFrom"):
            return [*flag, *map(as_text, value)]
        else:
            return flag if value else []  # the items have bindings of their own
    else:
        text = as_text(value)
    if prefix is None:
        return [text]
    return [prefix + text] if binding.get("separate") is False else [prefix, text]


def as_text(value: Any) -> str:
    """A value as a command gets it.

    Raises:
        ValueError: it is a File or Directory without a path.
    """
    from ruamel.yaml.representer import RoundTripRepresenter
    from ruamel.yaml.scalarfloat import ScalarFloat

    if isinstance(value, Mapping) and value.get("class") in _FILES:
        if "path" not in value:
            raise ValueError(f"a {value['class']} on the command line has no path: {dict(value)}")
        return str(value["path"])
    if isinstance(value, ScalarFloat):  # as it was written, but for exponents
        written = Decimal(RoundTripRepresenter().represent_scalar_float(value).value)
        return str(written.quantize(Decimal(1))) if "E" in str(written) else str(written)
    return str(value)


def fits(type_: Type, value: Any) -> bool:
    """Whether a value is of a type; in a union the first one that fits counts."""
    if isinstance(type_, Mapping):
        return _fits_inside(type_, value)
    if not isinstance(type_, str):
        return any(fits(t, value) for t in type_)
    if type_ in _INTEGERS:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and -(1 << _INTEGERS[type_] - 1) <= value < 1 << _INTEGERS[type_] - 1
    if type_ in _FILES:
        return isinstance(value, Mapping) and value.get("class") == type_
    match type_:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "float" | "double":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
    return value is not None  # Any


def _fits_inside(type_: Mapping[str, Any], value: Any) -> bool:
    match type_["type"]:
        case "enum":
            return isinstance(value, str) and value in type_["symbols"]
        case "array":
            return _is_list(value) and all(fits(type_["items"], item) for item in value)
    is_record = isinstance(value, Mapping)
    return is_record and all(fits(f["type"], value.get(f["name"])) for f in type_["fields"])


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
