"""What the agent's answers to small commands have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence

from streamflow_fluxop.agent.shell_fastpath.shell_lexer import NotSimple, ShellWord
from streamflow_fluxop.agent.wire.protocol import CommandResult

BLOCK = 1 << 18
"""Bytes that are read or copied at once."""

OK = CommandResult(b"", 0)
FALSE = CommandResult(b"", 1)


class Heavy(Exception):
    """The answer takes longer than the event loop can wait: ask again in a thread, without a budget."""


class Unsure(Exception):
    """A real shell should decide."""


class TimeBudget:
    """System calls, more or less, that an answer may take.

    Args:
        calls: how many; None: no limit.
    """

    def __init__(self, calls: int | None) -> None:
        self._left = calls

    def spend(self, calls: int = 1) -> None:
        """Take some.

        Raises:
            Heavy: there are not enough left.
        """
        if self._left is not None:
            self._left -= calls
            if self._left < 0:
                raise Heavy


def path_of(word: ShellWord) -> bytes:
    """An operand that no program takes for an option or part of an expression.

    Raises:
        Unsure: it may be one.
    """
    path = word.literal
    if path[:1] in (b"", b"-", b"(", b")", b"!", b",", b"="):
        raise Unsure
    return path


def real_path_of(path: bytes) -> CommandResult:
    """What ``readlink -f`` says of a path that is there.

    Raises:
        Unsure: it is not there any more.
    """
    real = os.path.realpath(path)
    if not os.path.lexists(real):
        raise Unsure  # it changed under our eyes
    # POSIX lets two leading slashes mean something else, and Python keeps them; Linux and readlink do not.
    return CommandResult(b"/" + real.lstrip(b"/") + b"\n", 0)


def one_path(words: Sequence[ShellWord]) -> bytes:
    """The only operand.

    Raises:
        NotSimple: there is not exactly one.
        Unsure: see `path_of`.
    """
    if len(words) != 1:
        raise NotSimple
    return path_of(words[0])
