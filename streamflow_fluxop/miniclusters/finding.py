"""What an examination of the place where MiniClusters are to run has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: fail: a run cannot work; warn: it may not.
        what: was found.
        fix: what to do; empty if nothing is wrong.
    """

    level: Literal["ok", "warn", "fail"]
    what: str
    fix: str = ""
