"""CWL's types: whether a value suits one, how a user writes it, and whether every type of a process is defined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streamflow_fluxop.cwl.known_values import UNKNOWN
from streamflow_fluxop.cwl.parsed_documents import Process
from streamflow_fluxop.cwl.requirements import Requirements
from streamflow_fluxop.cwl.source_location import entry_place, last
from streamflow_fluxop.errors import UserError


def check_types(process: Process, requirements: Requirements, words: str) -> Iterator[UserError]:
    """The inputs and outputs of a process whose type nobody defines.

    Args:
        process: any.
        requirements: as they hold in it: its SchemaDefRequirement defines types.
        words: what to call the process in messages, such as ``step /analysis``; empty for the root.
    """
    defined = defined_in(requirements)
    for section in ("inputs", "outputs"):
        for port in getattr(process.cwl, section):
            name = last(port.id)
            place = entry_place(process.file, process.yaml, section, name, words)
            for kind in _names(port.type_):
                if "#" in kind and kind not in defined:
                    fix = "A type is one of CWL's, such as File, string[] or int?, or from a SchemaDefRequirement."
                    yield UserError(f"there is no type {last(kind)}", where=str(place), fix=fix)


def defined_in(requirements: Requirements) -> dict[str, Any]:
    """The types of SchemaDefRequirement, by name."""
    schemas = requirements.get("SchemaDefRequirement")
    return {t.name: t for t in schemas.value.types} if schemas is not None else {}


def completed(value: Any, kind: Any, defined: Mapping[str, Any]) -> Any:
    """An input with null in all fields of records that may be null, and are not given (cwltool, `Builder.bind_input`).

    Args:
        value: as it was given.
        kind: cwl-utils' object.
        defined: see `defined_in`.
    """
    kind = defined.get(kind, kind) if isinstance(kind, str) else kind
    if isinstance(kind, list):
        kinds = [defined.get(k, k) if isinstance(k, str) else k for k in kind]
        kind = next((k for k in kinds if suits(value, k)), None)
    inner = getattr(kind, "type_", None)
    if inner == "array" and isinstance(value, list):
        return [completed(one, kind.items, defined) for one in value]
    if inner == "record" and isinstance(value, Mapping):
        fields = {last(f.name): f.type_ for f in kind.fields or []}
        nulls = {name: None for name, of in fields.items() if name not in value and suits(None, of)}
        return {n: completed(v, fields.get(n), defined) for n, v in value.items()} | nulls
    return value


def _names(kind: Any) -> Iterator[str]:
    """The types in a type that are said by their names."""
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, list):
        for one in kind:
            yield from _names(one)
    elif kind.type_ == "array":
        yield from _names(kind.items)
    elif kind.type_ == "record":
        for field in kind.fields or []:
            yield from _names(field.type_)


def suits(value: Any, kind: Any) -> bool:
    """Whether StreamFlow would take `value` (`cwl/processor.py`, `_check_token_type`); what nobody knows may suit."""
    if value is UNKNOWN:
        return True
    if isinstance(kind, list):
        return any(suits(value, k) for k in kind)
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
            return isinstance(value, list) and all(suits(v, kind.items) for v in value)
        case "record":
            fields = {last(f.name): f.type_ for f in kind.fields or []}
            return isinstance(value, Mapping) and all(suits(value.get(n), t) for n, t in fields.items())
        case "enum":
            return isinstance(value, str) and value in map(last, kind.symbols)
    return True  # a type by its name, which its own schema defines


def said(kind: Any) -> str:
    """A type in CWL's words, such as `int?` and `File[]`."""
    if isinstance(kind, list):
        others = [k for k in kind if k != "null"]
        if len(others) == 1 and len(kind) == 2:
            return f"{said(others[0])}?"
        return " or ".join(map(said, kind))
    match kind if isinstance(kind, str) else kind.type_:
        case "stdin":
            return "File"
        case "array":
            inner = said(kind.items)
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case "record":
            fields = ", ".join(f"{last(f.name)}: {said(f.type_)}" for f in kind.fields or [])
            return f"record of {fields}"
        case "enum":
            return f"enum of {', '.join(map(last, kind.symbols))}"
        case name:
            return last(str(name))


def shortly(value: Any) -> str:
    """A value as JSON, cut after 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


_OF_BINDING = ("position", "prefix", "separate", "itemSeparator", "valueFrom", "shellQuote")


def plain(kind: Any, defined: Mapping[str, Any]) -> Any:
    """A type as JSON: a name, a list of types, or a mapping with `type`, `inputBinding`, `items`, `fields`, `symbols`.

    Args:
        kind: cwl-utils' object.
        defined: the types of SchemaDefRequirement, by name, which are put in.
    """
    if isinstance(kind, str):
        return plain(defined[kind], defined) if kind in defined else kind
    if isinstance(kind, list):
        return [plain(k, defined) for k in kind]
    made: dict[str, Any] = {"type": kind.type_, "inputBinding": plain_binding(getattr(kind, "inputBinding", None))}
    match kind.type_:
        case "array":
            made["items"] = plain(kind.items, defined)
        case "enum":
            made["symbols"] = [last(symbol) for symbol in kind.symbols]
        case "record":
            made["fields"] = [
                {
                    "name": last(f.name),
                    "type": plain(f.type_, defined),
                    "inputBinding": plain_binding(getattr(f, "inputBinding", None)),
                }
                for f in kind.fields or []
            ]
    return made


def plain_binding(binding: Any) -> dict[str, Any] | None:
    """A CommandLineBinding as JSON."""
    if binding is None:
        return None
    return {key: value for key in _OF_BINDING if (value := getattr(binding, key, None)) is not None}
