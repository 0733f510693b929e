"""StreamFlow's own complaints as messages: the file, the line, what is wrong and what would be right.

StreamFlow ends on a mistake in its file with the JSON Schema error and a traceback.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from streamflow_fluxop.errors import UserError

_TYPES = {
    "object": "a mapping of `key: value` lines",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def explain_schema_errors(errors: Iterable[Any], where: Callable[..., str]) -> list[UserError]:
    """One error a mistake.

    Args:
        errors: `jsonschema.ValidationError`s of a StreamFlow file.
        where: the place of a key, given the way to it.
    """
    found = [e for error in errors for leaf in _leaves(error) for e in _explained(leaf, where)]
    return list({str(e): e for e in found}.values())


def _leaves(error: Any) -> Iterator[Any]:
    """Of alternatives (`oneOf`, `anyOf`) the mistakes in the one that was meant: of the right type, with the fewest."""
    if not error.context:
        yield error
        return
    branches: dict[Any, list[Any]] = {}
    for part in error.context:
        branches.setdefault(part.schema_path[0], []).append(part)
    of_its_type = [b for b in branches.values() if not _of_other_type(b)]
    if of_its_type:
        for part in min(of_its_type, key=len):
            yield from _leaves(part)
    else:
        yield _of_other_type(next(iter(branches.values())))[0]


def _of_other_type(branch: list[Any]) -> list[Any]:
    return [p for p in branch if p.validator == "type" and not p.relative_path]


def _explained(error: Any, where: Callable[..., str]) -> Iterator[UserError]:
    way = tuple(error.absolute_path)
    properties = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    value = json.dumps(error.instance, default=str)
    value = value if len(value) <= 60 else f"{value[:57]}..."
    match error.validator:
        case "required":
            for key in error.validator_value:
                if key not in error.instance:
                    fix = properties.get(key, {}).get("description")
                    yield UserError(f"the key {key!r} is missing", where=where(*way), fix=fix)
        case "additionalProperties" | "unevaluatedProperties":
            for key in _unexpected(error):
                close = get_close_matches(str(key), properties, n=1)
                fix = f"Did you mean {close[0]!r}?" if close else None
                fix = fix or (f"The keys here are: {', '.join(properties)}." if properties else None)
                yield UserError(f"unknown key {key!r}", where=where(*way, key), fix=fix)
        case "type":
            kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
            meant = " or ".join(_TYPES.get(k, k) for k in kinds)
            yield UserError(f"{value} is not {meant}", where=where(*way), fix=error.schema.get("description"))
        case "enum" | "const":
            options = error.validator_value if error.validator == "enum" else [error.validator_value]
            close = get_close_matches(str(error.instance), map(str, options), n=1)
            fix = f"Did you mean {close[0]!r}? " if close else ""
            fix += f"Possible here: {', '.join(map(str, options))}."
            yield UserError(f"{value} is not possible here", where=where(*way), fix=fix)
        case _:
            yield UserError(error.message, where=where(*way), fix=error.schema.get("description"))


def _unexpected(error: Any) -> list[str]:
    """The keys that a schema does not know: jsonschema names them in its message only, quoted as Python does."""
    quoted = re.findall(r"'((?:[^'\\]|\\.)*)'", error.message.partition("(")[2])
    return [key for key in quoted if key in error.instance]
