"""`fluxop verify`: checks a plan on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BROKEN = 1
"""Exit code where a plan breaks a rule."""


def verify(
    file: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan, as fluxop plan -o plan.json writes it.")],
) -> None:
    """Check a plan against what it is for: needs, order, limits, times, cost. Exit code 1: it breaks a rule."""
    from streamflow_fluxop.printable import printable
    from streamflow_fluxop.report.headline import headline
    from streamflow_fluxop.sources.own_documents import read_plan
    from streamflow_fluxop.verification import verify as broken_rules

    plan = read_plan(file)
    problems = broken_rules(plan)
    for problem in problems:
        typer.echo(printable(f"{file}: {problem}"))
    if problems:
        raise typer.Exit(BROKEN)
    typer.echo(printable(f"{file}: keeps every rule. {headline(plan)}"))
