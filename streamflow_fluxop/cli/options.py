"""The options that several commands share, and how their values are read."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from streamflow_fluxop.model import Limits


def seconds(text: str | float) -> float:
    """A duration such as 90, 90s, 15m, 2h, 1h30m, in seconds; a number, as defaults are, is one.

    Raises:
        typer.BadParameter: it is none.
    """
    if not isinstance(text, str):
        return text
    from streamflow_fluxop.config import steps

    try:
        return steps.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def deadline(text: str | float) -> float:
    """A duration like those of `seconds`, of more than nothing.

    Raises:
        typer.BadParameter: it is none.
    """
    found = seconds(text)
    if found <= 0:
        raise typer.BadParameter(f"{text!r} leaves no time: write 90, 90s, 15m, 2h or 1h30m")
    return found


def amount(text: str | float) -> float:
    """A sum of money: a number that is not negative, and finite.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise typer.BadParameter(f"{text!r} is no amount: write a number of 0 or more")
    return found


def limits(texts: list[str]) -> Limits:
    """The limits that `nodes=16 gpus=2` say, `texts` being such words.

    Raises:
        typer.BadParameter: one of them is no limit, or no number.
    """
    from pydantic import ValidationError

    from streamflow_fluxop.model import Limits

    found: dict[str, float] = {}
    for text in (part for word in texts for part in word.split(",")):
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in Limits.model_fields:
            known = ", ".join(Limits.model_fields)
            raise typer.BadParameter(f"{text!r} is no limit: write NAME=NUMBER, with a name of {known}")
        try:
            found[name] = float(value)
            Limits.model_validate({name: found[name]})
        except (ValueError, ValidationError):
            kind = "a number" if name == "cost_per_hour" else "a whole number"
            raise typer.BadParameter(f"{text!r}: {value!r} is not {kind} that a limit can have") from None
    return Limits.model_validate(found)


class Goal(str, Enum):
    """What a good plan is."""

    cost = "cost"
    makespan = "makespan"
    balanced = "balanced"


def _strategies(incomplete: str) -> list[str]:
    from streamflow_fluxop.planning.strategies import names

    return [s for s in names() if s.startswith(incomplete)]


_WHAT = "What to plan for"
_WANTED = "What a good plan is"
_SEARCH = "How to search"

File = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads the annotation on Python 3.10, too
    typer.Argument(metavar="[STREAMFLOW_FILE]", help="The StreamFlow file.", show_default=False),
]
WorkflowFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--workflow",
        metavar="PATH",
        help="Instead of a StreamFlow file: a workflow document of ours (YAML or JSON), a WfCommons trace (WfFormat), "
        "or a Snakefile.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
FlavoursFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--flavours",
        metavar="PATH",
        help="With --workflow: the flavours and limits (YAML or JSON), or a StreamFlow file that has a fleet.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
DeploymentName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--deployment", metavar="NAME", help="Plan this fleet only.", rich_help_panel=_WHAT, show_default=False
    ),
]
WorkflowName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--workflow-name",
        metavar="NAME",
        help="Plan this workflow of the StreamFlow file only.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
History = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--history",
        metavar="PATH",
        help="A folder of event logs, or StreamFlow's database: its durations then win over hints. Default: this "
        "user's logs, then the database where StreamFlow keeps it.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
NoHistory = Annotated[
    bool,
    typer.Option("--no-history", help="Do not look at past runs.", rich_help_panel=_WHAT, show_default=False),
]
NoJavaScript = Annotated[
    bool,
    typer.Option(
        "--no-javascript",
        help="Do not evaluate the CWL's JavaScript; what hangs on it is unknown.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
Web = Annotated[
    bool,
    typer.Option("--web", help="Read CWL documents on the web, too.", rich_help_panel=_WHAT, show_default=False),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Run a Snakefile, which is a program, without asking.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
LimitWords = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="A limit instead of the file's, such as nodes=16: nodes, cores, gpus, memory (MiB), cost_per_hour, "
        "miniclusters. May be given several times.",
        rich_help_panel=_WHAT,
        show_default=False,
    ),
]
ObjectiveGoal = Annotated[
    Optional[Goal],  # noqa: UP045
    typer.Option(
        "--objective",
        help="What is to be small.",
        rich_help_panel=_WANTED,
        case_sensitive=False,
        show_default="the file's, else balanced",
    ),
]
Weight = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--weight",
        min=0,
        max=1,
        metavar="SHARE",
        help="Share of the cost if balanced.",
        rich_help_panel=_WANTED,
        show_default="the file's, else 0.5",
    ),
]
Deadline = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--deadline",
        metavar="TIME",
        parser=deadline,
        help="All jobs have to be over by then, such as 90s, 15m, 2h.",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]
Budget = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--budget",
        metavar="COST",
        parser=amount,
        help="What it may cost.",
        rich_help_panel=_WANTED,
        show_default=False,
    ),
]
Strategy = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="auto is the best of all; fluxop compare lists them.",
        rich_help_panel=_SEARCH,
        autocompletion=_strategies,
        show_default="the file's, else auto",
    ),
]
Seed = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--seed",
        metavar="NUMBER",
        help="Equal seeds give equal plans.",
        rich_help_panel=_SEARCH,
        show_default="the file's, else 0",
    ),
]
TimeLimit = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--time-limit",
        "--effort",
        metavar="TIME",
        parser=seconds,
        help="How much to search, in seconds of a slow machine. It is counted in work, so that equal efforts give "
        "equal plans on every machine.",
        rich_help_panel=_SEARCH,
        show_default="the file's, else 5s or less",
    ),
]
