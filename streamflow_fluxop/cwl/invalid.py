"""What schema-salad says of an invalid document, as one line a mistake: its file, line, place, and what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schema_salad.exceptions import SchemaSaladException

from streamflow_fluxop.cwl.places import last, shown

_OBJECT = re.compile(r"checking object `([^`]*)`")
_FIELD = re.compile(r"the `([^`]*)` field is not valid because:$")
_URI = re.compile(r"`(file://[^`]*)`")
_NO_SUCH_ENTRY = re.compile(r"Expected a <class 'NoneType'> but got (list|dict)$")


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
    if _NO_SUCH_ENTRY.match(message):
        return "has an entry that CWL does not know, or one with a field that CWL does not know"
    return _URI.sub(lambda m: f"`{last(m[1]) if '#' in m[1] else shown(m[1])}`", " ".join(message.split()))
