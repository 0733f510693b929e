"""What schema-salad says of an invalid document, as one line a mistake: its file, line, place, and what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches

from schema_salad.exceptions import SchemaSaladException

from streamflow_fluxop.cwl.source_location import last, shown

_OBJECT = re.compile(r"checking object `([^`]*)`")
_FIELD = re.compile(r"the `([^`]*)` field is not valid because:$")
_URI = re.compile(r"`(file://[^`]*)`")
VAGUE = ", which CWL does not expect here"
"""How a message ends that says no more."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "double": "a number",
    "ScalarFloat": "a number",
    "str": "text",
    "string": "text",
    "bool": "true or false",
    "boolean": "true or false",
    "array": "a list",
    "list": "a list",
    "CommentedSeq": "a list",
    "object": "a mapping",
    "dict": "a mapping",
    "CommentedMap": "a mapping",
    "null": "nothing",
    "None": "nothing",
    "NoneType": "nothing",
}


def mistakes(error: SchemaSaladException) -> list[tuple[str | None, str]]:
    """The mistakes that an error tells of, outermost first: where (`tool.cwl:12`, None where unknown) and what."""
    return list(dict.fromkeys(_mistakes(error, ())))


def _mistakes(error: SchemaSaladException, path: tuple[str, ...]) -> Iterator[tuple[str | None, str]]:
    named = _OBJECT.match(error.message) or _FIELD.match(error.message)
    inner = (*path, last(named[1])) if named else path
    if error.children:
        for child in error.children:
            yield from _mistakes(child, inner)
    elif error.message:
        # a field whose reasons cwl-utils kept for itself is all that there is to say
        what = "is not what CWL allows here" if named else _plain(error.message)
        yield _where(error), f"{'.'.join(inner)}: {what}" if inner else what


def _where(error: SchemaSaladException) -> str | None:
    if not error.file:
        return None
    return f"{shown(error.file)}:{error.start[0]}" if error.start and error.start[0] else shown(error.file)


def _plain(message: str) -> str:
    text = _URI.sub(lambda m: f"`{last(m[1]) if '#' in m[1] else shown(m[1])}`", " ".join(message.split()))
    for pattern, said in _SAID:
        if found := pattern.search(text):
            return said(found)
    return text


def _named(quoted: str) -> list[str]:
    return re.findall(r"[`\"]([^`\"]*)[`\"]", quoted)


def guessed(name: str, known: Iterable[str]) -> str:
    """Which one was meant, else which ones there are."""
    there = list(known)
    close = get_close_matches(name, there, n=1) or [k for k in there if k.lower() == name.lower()]
    return f"did you mean `{close[0]}`?" if close else f"those are {', '.join(sorted(there))}"


def _kinds(names: str) -> str:
    if symbols := _named(names):
        return " or ".join(sorted(symbols))
    found = [_KINDS.get(n.strip(" '"), n.strip(" '")) for n in names.strip("() .").split(",")]
    return " or ".join(sorted({k for k in found if k != "nothing"}))


def _kind(name: str) -> str:
    return _KINDS.get(name, "something else")


_CLASSES = ("CommandLineTool", "ExpressionTool", "Operation", "Workflow")

_SAID: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Expected one of (.*)"), lambda m: f"must be {_kinds(m[1])}"),
    (re.compile(r"missing required field `([^`]*)`"), lambda m: f"the field `{m[1]}` is missing"),
    (
        re.compile(r"invalid field `([^`]*)`, expected one of: (.*)"),
        lambda m: f"there is no field `{m[1]}` here: {guessed(m[1], _named(m[2]))}",
    ),
    (
        re.compile(r"Value (?:`.*` )?is an? (\w+), but valid (?:type|value)s? for this field (?:is|are) (?:an? )?(.*)"),
        lambda m: f"is {_kind(m[1])}, and must be {_kinds(m[2])}",
    ),
    (re.compile(r"Expected a .* but got (\w+)"), lambda m: f"is {_kind(m[1])}{VAGUE}"),
    (
        re.compile(r"Field `class` contains undefined reference to `([^`]*)`"),
        lambda m: f"there is no class `{m[1]}`: {guessed(m[1], _CLASSES)}",
    ),
    (re.compile(r"undefined reference to `([^`]*)`"), lambda m: f"there is no `{m[1]}`"),
    (re.compile(r"[Cc]ould not get the cwlVersion"), lambda _: "the field `cwlVersion` is missing"),
    (re.compile(r"MutableMapping is required|Expected URI string, MutableMapping"), lambda _: "is no mapping"),
)
"""schema-salad's words and ours."""
