"""Reads the simplest of command lines as ``/bin/sh`` would, and gives up on all others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from streamflow_fluxop.agent.system.processes import to_bytes

_PIECE = re.compile(
    r"""
      (?P<blank>[ \t]+)
    | (?P<operator>&&|\||;)
    | '(?P<single>[^']*)'
    | "(?P<double>[^"$`\\]*)"
    | (?P<plain>[A-Za-z0-9@%+=:,./_-]+)
    | (?P<pattern>[*?]+)
    | (?P<other>[^\x00-\xa0\ud800-\udfff\s]+)
    """,
    re.VERBOSE,
)
# `plain` is what shlex.quote leaves unquoted; `other`, letters beyond ASCII, are nothing special to any shell.


class NotSimple(Exception):
    """The command line has something in it that only a shell should interpret."""


@dataclass(frozen=True)
class ShellWord:
    """One word of a command line, its quotes removed.

    Args:
        text: with bytes that are no UTF-8 escaped, see `protocol`.
        wild: positions in it of the ``*`` and ``?`` that are not quoted.
        quoted: whether any of it was quoted.
    """

    text: str
    wild: tuple[int, ...] = ()
    quoted: bool = False

    @property
    def literal(self) -> bytes:
        """What the command gets for it.

        Raises:
            NotSimple: the shell would expand it.
        """
        if self.wild:
            raise NotSimple
        return to_bytes(self.text)


def split(line: str) -> list[list[ShellWord] | str]:
    """Simple commands and, between them, the operators ``&&``, ``|`` and ``;``.

    Raises:
        NotSimple: there is more to it.
    """
    parts: list[list[ShellWord] | str] = []
    words: list[ShellWord] = []
    text = ""
    wild: list[int] = []
    started = quoted = False
    position = 0

    def end_word() -> None:
        nonlocal text, started, quoted
        if started:
            words.append(ShellWord(text, tuple(wild), quoted))
            text = ""
            wild.clear()
            started = quoted = False

    while position < len(line):
        match = _PIECE.match(line, position)
        if match is None:
            raise NotSimple
        position = match.end()
        kind = match.lastgroup
        if kind == "blank":
            end_word()
        elif kind == "operator":
            end_word()
            parts += [words, match.group()]
            words = []
        else:
            piece = match.group(kind or 0)
            if kind == "pattern":
                wild += range(len(text), len(text) + len(piece))
            quoted = quoted or kind in ("single", "double")
            started = True
            text += piece
    end_word()
    parts.append(words)
    return parts


def simple(line: str) -> Sequence[ShellWord]:
    """The words of a line that is one simple command.

    Raises:
        NotSimple: it is not.
    """
    parts = split(line)
    if len(parts) != 1 or not parts[0]:
        raise NotSimple
    words = parts[0]
    assert not isinstance(words, str)
    return words
