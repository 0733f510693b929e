"""Reads files that somebody else may have written: regular ones, of a bounded size, that say what they say once.

YAML can name a part and use it again, in itself even: a few lines can stand for more than any memory holds. What is
refused here would take a reader more than a moment, or has a form that no document of ours needs.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any, Literal

from streamflow_fluxop.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
YAML_MOST = 16 * MIB
"""Bytes of a YAML file; reading takes seconds a MiB."""
JSON_MOST = 2048 * MIB
"""Bytes of a JSON file: a plan of a million jobs."""
INPUTS_MOST = 256 * MIB
"""Bytes of an inputs file: a million files, in JSON."""

DEPTH = 64
"""Mappings and lists in each other."""
REPEATED = 100_000
"""Values that aliases may stand for in one document."""
DIGITS = 308
"""Of a number: those that a CWL double can have, and Python makes a float of."""

_NUMBER_IN_JSON = re.compile(rb"[0-9]{%d}" % DIGITS)

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def read_bytes(path: str | os.PathLike[str], most: int, shown: str | None = None) -> bytes:
    """What is in a regular file.

    Args:
        path: of the file.
        most: bytes that it may have.
        shown: how a message names it; None: by its path.

    Raises:
        UserError: it can't be read, is no regular file (reading one may never end), or is larger than that.
    """
    where = os.fspath(path) if shown is None else shown
    try:
        _check_regular(os.stat(path).st_mode, where)  # before it is opened, which can do something to a device
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            _check_regular(about.st_mode, where)
            content = b"" if about.st_size > most else file.read(most + 1)
    except OSError as error:
        raise UserError(f"can't be read: {error.strerror}", where=where) from None
    except ValueError as error:  # a null byte in the name
        raise UserError(f"can't be read: {error}", where=where) from None
    if about.st_size > most or len(content) > most:
        raise UserError(f"is larger than the {most // MIB} MiB that we read of such a file", where=where)
    return content


def _check_regular(mode: int, where: str) -> None:
    for is_one, kind in _KINDS:
        if is_one(mode):
            raise UserError(f"can't be read: it is {kind}, no regular file", where=where, fix="Name a file.")


def read_text(path: str | os.PathLike[str], most: int = YAML_MOST, shown: str | None = None) -> str:
    """The text of a regular file, in UTF-8; see `read_bytes`.

    Raises:
        UserError: see `read_bytes`; or it is no such text.
    """
    return to_text(read_bytes(path, most, shown), os.fspath(path) if shown is None else shown)


def to_text(content: bytes, where: str) -> str:
    """Bytes as text.

    Raises:
        UserError: they are none in UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError("is no text in UTF-8", where=f"{where}:{line}", fix="Save it in UTF-8.") from None


def load_yaml(text: str, kind: Literal["safe", "rt", "cwl"] = "safe") -> Any:
    """What a YAML document says.

    Args:
        text: of the document.
        kind: `safe`: plain values; `rt`: values that know their lines; `cwl`: such, as cwl-utils wants them.

    Raises:
        ruamel.yaml.error.YAMLError: it is no YAML, or of a form that is refused (see the module), with its line.
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _yaml(kind).load(text)
    except RecursionError:
        raise YAMLError(f"more than {DEPTH} mappings and lists in each other") from None
    except YAMLError:
        raise
    except Exception as error:  # ruamel's constructors meet what their author did not think of: `!!int x`, `<<: 1`
        raise MarkedYAMLError(problem=f"it can't be understood: {error}") from error


def _yaml(kind: str) -> Any:
    from ruamel.yaml import YAML

    if kind == "cwl":
        from schema_salad.utils import yaml_no_ts

        yaml = yaml_no_ts()
    else:
        yaml = YAML(typ=kind, pure=True)
    yaml.Composer = _bounded_composer()
    return yaml


def _bounded_composer() -> Any:
    from ruamel.yaml.composer import Composer, ComposerError
    from ruamel.yaml.events import AliasEvent
    from ruamel.yaml.nodes import ScalarNode

    class BoundedComposer(Composer):
        """Counts what it makes, with what aliases stand for."""

        def __init__(self, loader: Any = None) -> None:
            super().__init__(loader)
            self.warn_double_anchors = False
            self._made = self._repeated = self._nested = 0
            self._sizes: dict[str, int | None] = {}  # by anchor; None: not whole yet

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.parser.peek_event()
            if isinstance(event, AliasEvent):
                self._repeat(event)
                return super().compose_node(parent, index)
            if self._nested >= DEPTH:
                self._refuse(f"more than {DEPTH} mappings and lists in each other", event)
            anchor, before = event.anchor, self._made
            if anchor is not None:
                self._sizes[anchor] = None
            self._made += 1
            self._nested += 1
            node = super().compose_node(parent, index)
            self._nested -= 1
            if isinstance(node, ScalarNode) and len(node.value) > DIGITS and str(node.tag).endswith(":int"):
                self._refuse(f"a number of more than {DIGITS} digits", event)
            if anchor is not None:
                self._sizes[anchor] = self._made - before
            return node

        def _repeat(self, event: Any) -> None:
            size = self._sizes.get(event.anchor, 0)
            if size is None:
                self._refuse(f"{event.anchor!r} is part of itself", event)
            self._made += size or 0
            self._repeated += size or 0
            if self._repeated > REPEATED:
                self._refuse(f"aliases stand for more than {REPEATED} values", event)

        @staticmethod
        def _refuse(problem: str, event: Any) -> None:
            raise ComposerError(None, None, problem, event.start_mark)

    return BoundedComposer


def load_json(text: str | bytes) -> Any:
    """What a JSON document says.

    Raises:
        ValueError: it is no JSON (a JSONDecodeError), or of a form that is refused, see the module.
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    hook = _whole_number if _NUMBER_IN_JSON.search(content) else None
    try:
        loaded = json.loads(text, parse_int=hook, parse_constant=_no_number)
        check_depth(loaded)
        return loaded
    except RecursionError:
        raise ValueError(f"more than {DEPTH} objects and lists in each other") from None


def _whole_number(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of more than {DIGITS} digits")
    return int(digits)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def check_depth(value: Any) -> None:
    """Check how deep lists and mappings lie in each other.

    Raises:
        ValueError: deeper than `DEPTH`.
    """
    level = [value]
    for _ in range(DEPTH + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"more than {DEPTH} objects and lists in each other")
