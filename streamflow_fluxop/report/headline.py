"""A plan in a line, with what it rests on: nothing is called optimal but for what it was planned for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.report.units import duration, number, percent, times

if TYPE_CHECKING:
    from streamflow_fluxop.model import Knowledge, Plan

_BEST = {"cost": "the least cost", "makespan": "the least time", "balanced": "the best"}


def headline(plan: Plan) -> str:
    """The plan in a line: ``3 MiniClusters, 42 min, cost 24 720, optimal``; what is guessed is said at once."""
    size = f"{times(len(plan.miniclusters), 'MiniCluster')}, {in_all(plan)}"
    return f"{size}, the search cut short by the clock" if plan.cut else size


def in_all(plan: Plan) -> str:
    """Time and cost, what they rest on, and how good that is."""
    totals, known = f"{duration(plan.makespan)}, cost {number(plan.cost)}", plan.knowledge
    if known is None or known.everything or not known.jobs:
        return f"{totals}, {quality(plan)}"
    if known.nothing:
        return f"{totals} {condition(known)}; {quality(plan)} for that"
    return f"{totals}, {quality(plan)} if the guesses are right; {guesses(known)}"


def condition(known: Knowledge) -> str:
    """What has to be so, where no duration is known: ``if every job takes 60 s, as 232 of 232 were assumed to``."""
    jobs = number(known.jobs)
    if known.assumed == 0:
        text = f"if every job takes all of its time limit, as {jobs} of {jobs} were assumed to"
    elif known.limited:
        text = (
            f"if every job takes what was assumed: {_assumed(known)} for {number(known.assumed)} of {jobs}, "
            "its time limit for the others"
        )
    else:
        text = f"if every job takes {_assumed(known)}, as {jobs} of {jobs} were assumed to"
    return f"{text}, and {_widths(known)}" if known.widths else text


def guesses(known: Knowledge) -> str:
    """Which share is guessed: ``guessed: 34 % of the longest chain and 12 % of the cost``."""
    text = f"guessed: {percent(known.chain)} of the longest chain and {percent(known.cost)} of the cost"
    return f"{text}, as {_widths(known)}" if known.widths else text


def rests_on(plan: Plan) -> str:
    """What a plan rests on, for a line of its own; empty where everything is known."""
    known = plan.knowledge
    if known is None or known.everything or not known.jobs:
        return ""
    return condition(known) if known.nothing else guesses(known)


def quality(plan: Plan) -> str:
    """How far a plan is from the best there can be for its durations, as far as that is known."""
    if plan.optimal:
        return "optimal"
    best = _BEST[plan.problem.objective.goal]
    return f"within {100 * plan.gap:.1f} % of {best}" if plan.gap < 1 else f"at most {1 + plan.gap:.1f} times {best}"


def _assumed(known: Knowledge) -> str:
    if known.least == known.most:
        return _seconds(known.most)
    return f"{_seconds(known.least)} to {_seconds(known.most)}"


def _seconds(assumed: float) -> str:
    """A duration as users write it where it is short: ``60 s``."""
    return f"{assumed:g} s" if assumed <= 120 else duration(assumed)


def _widths(known: Knowledge) -> str:
    if known.widths == 1:
        return "1 step has as many jobs as assumed"
    return f"{number(known.widths)} steps have as many jobs as assumed"
