"""Turns what pydantic says of a document into a user's words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from difflib import get_close_matches
from math import ceil
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from streamflow_fluxop.errors import UserError

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "dataclass_type": "a mapping of `key: value` lines",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping of `key: value` lines",
    "list_type": "a list",
    "model_type": "a mapping of `key: value` lines",
}

_LIMITS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "finite_number": "a number that is finite",
}

_PATTERN_FIX = "Small letters, digits and dashes, and no dash at either end; our own names start with a letter."

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", re.IGNORECASE)


def explain(
    error: ValidationError, model: type[BaseModel], where: Callable[..., str], *prefix: str | int
) -> list[UserError]:
    """One error a mistake.

    Args:
        error: of validating against `model`.
        model: the document's class.
        where: the place of a key, given the way to it.
        prefix: the way to the document itself.
    """
    return [_explain_one(p, model, where, prefix) for p in error.errors(include_url=False)]


def _explain_one(
    problem: Any, model: type[BaseModel], where: Callable[..., str], prefix: tuple[str | int, ...]
) -> UserError:
    way = tuple(k for k in problem["loc"] if k != "[key]")
    place = where(*prefix, *way)
    match problem["type"]:
        case "missing":
            known = _fields_at(model, way[:-1])[str(way[-1])]
            return UserError(f"the key {way[-1]!r} is missing", where=where(*prefix, *way[:-1]), fix=known.description)
        case "extra_forbidden" | "unexpected_keyword_argument":
            keys = _fields_at(model, way[:-1])
            close = get_close_matches(str(way[-1]), keys, n=1)
            fix = f"Did you mean {close[0]!r}?" if close else f"The keys here are: {', '.join(keys)}."
            return UserError(f"unknown key {way[-1]!r}", where=place, fix=fix)
        case "value_error":
            return UserError(str(problem["ctx"]["error"]), where=place)
        case "too_short":
            least = problem["ctx"]["min_length"]
            return UserError(f"it needs {least} {'entry' if least == 1 else 'entries'} at least", where=place)
        case "literal_error" | "enum":
            options = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
            value = json.dumps(problem["input"], default=str)
            close = get_close_matches(str(problem["input"]).lower(), options, n=1)
            fix = f"Did you mean {close[0]!r}? " if close else ""
            fix += f"Possible here: {', '.join(options)}."
            return UserError(f"{value} is not possible here", where=place, fix=fix)
        case kind if kind in _LIMITS:
            value = json.dumps(problem["input"], default=str)
            return UserError(f"{value} is not {_LIMITS[kind].format(**problem.get('ctx', {}))}", where=place)
        case "string_pattern_mismatch":
            value = json.dumps(problem["input"], default=str)
            return UserError(f"{value} is no name that is possible here", where=place, fix=_PATTERN_FIX)
        case kind if kind in _KINDS:
            value = json.dumps(problem["input"], default=str)
            field = _fields_at(model, way[:-1]).get(str(way[-1])) if way else None
            fix = (field.description if field is not None else None) or ""
            if "MiB" in fix and (mebibytes := _mebibytes(problem["input"])):
                fix = f"{fix} Write {mebibytes}."
            return UserError(f"{value} is not {_KINDS[kind]}", where=place, fix=fix or None)
        case _:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            return UserError(f"{json.dumps(problem['input'], default=str)}: {message}", where=place)


def _mebibytes(text: Any) -> int | None:
    """How many MiB a text such as `8GB`, `8 GiB` or `512M` says: whole ones, rounded up; None where it says none."""
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    power = "KMGT".index(found[2].upper()) + 1
    return ceil(float(found[1]) * float(1024 if found[3] else 1000) ** power / 2**20)


def _fields_at(model: type[Any], way: tuple[str | int, ...]) -> dict[str, FieldInfo]:
    """The fields of the document at the end of `way`, through fields and mappings."""
    for key in way:
        field = _fields(model).get(str(key))
        if field is not None:
            model = next(iter(_models(field.annotation)), model)
    return _fields(model)


def _fields(model: type[Any]) -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = model.__pydantic_fields__
    return found


def _models(annotation: Any) -> list[type[Any]]:
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_pydantic_dataclass(annotation)):
        return [annotation]
    return [m for part in get_args(annotation) for m in _models(part)]
