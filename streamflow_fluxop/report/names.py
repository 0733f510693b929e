"""Steps' names as short as they are clear."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.text import Text


def short_names(steps: Iterable[str]) -> dict[str, str]:
    """Each step's last part where that tells it from all others, else its whole name; without the first slash."""
    names = list(dict.fromkeys(steps))
    last = {name: _PARTS.split(name.rstrip("/"))[-1] or name for name in names}
    count = Counter(last.values())
    return {name: last[name] if count[last[name]] == 1 else name.lstrip("/") or name for name in names}


_PARTS = re.compile(r"[/:]|\.(?=[A-Za-z])")
"""What parts names: CWL's and Snakemake's paths, Nextflow's processes."""


def squeezed(name: str, most: int) -> str:
    """A name with its middle left out where it is longer than so many characters: traces number tasks at the end."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: max(1, most) - 1 - tail]}…{name[len(name) - tail :]}"


class Names:
    """Names, one after the other, each of them as short as the space makes it; a cell of a table.

    Args:
        names: the names.
        last_parts: whether to leave out first what stands before the last slash.
    """

    def __init__(self, names: Sequence[str], *, last_parts: bool = False) -> None:
        self.names = names
        self.last_parts = last_parts

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        length = len(", ".join(self.names))
        return Measurement(min(length, LEAST), min(length, max(LEAST, options.max_width // 5)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = options.max_width
        shown = [n.rsplit("/", 1)[-1] if self.last_parts and len(n) > width else n for n in self.names]
        words = [squeezed(n, width - (i < len(shown) - 1)) for i, n in enumerate(shown)]
        yield Text(", ".join(words), overflow="fold", no_wrap=False)


LEAST = 12
"""Characters that names keep where there is little space; else a fifth of the line."""


class StepNames:
    """What charts call steps, and which colour they have: charts that are compared share this.

    Args:
        steps: all steps that are shown.

    Attributes:
        short: the short name of each.
        kind: steps of one kind have one colour; the kind's number for each.
        kinds: the kinds' names, by number.
    """

    def __init__(self, steps: Iterable[str]) -> None:
        self.short = short_names(steps)
        kinds: dict[str, int] = {}
        self.kind = {name: kinds.setdefault(_kind(short), len(kinds)) for name, short in self.short.items()}
        self.kinds = tuple(kinds)

    def together(self, steps: Iterable[str]) -> list[str]:
        """The steps' names, those of a kind as one: ``20 mProject``."""
        by_kind: dict[int, list[str]] = {}
        for step in steps:
            by_kind.setdefault(self.kind[step], []).append(self.short[step])
        return [own[0] if len(own) == 1 else f"{len(own)} {self.kinds[kind]}" for kind, own in by_kind.items()]


def _kind(name: str) -> str:
    """Traces number the tasks of a program: mProject_ID0000012."""
    return re.sub(r"[_.-]?(ID)?[0-9]+$", "", name) or name
