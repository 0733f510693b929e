"""Steps' names as short as they are clear."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable


def short_names(steps: Iterable[str]) -> dict[str, str]:
    """Each step's last part where that tells it from all others, else its whole name; without the first slash."""
    names = list(dict.fromkeys(steps))
    last = {name: _PARTS.split(name.rstrip("/"))[-1] or name for name in names}
    count = Counter(last.values())
    return {name: last[name] if count[last[name]] == 1 else name.lstrip("/") or name for name in names}


_PARTS = re.compile(r"[/:]|\.(?=[A-Za-z])")
"""What parts names: CWL's and Snakemake's paths, Nextflow's processes."""


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
