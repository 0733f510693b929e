"""A problem without the jobs whose results are there already, as far as that can be known before the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from streamflow_fluxop.events.writing import runs_folder
from streamflow_fluxop.reuse.results import NAME, Results, Scope

if TYPE_CHECKING:
    from streamflow_fluxop.model import Step
    from streamflow_fluxop.sources.source import Source


def without_reusable(source: Source, scope: Scope) -> Source:
    """The problem of what is left to run.

    Whether a job would do the same as one of a past run is known when its inputs are there. Before that, a step has so
    many jobs less as there are results of its tool; but one at least, so that there is a MiniCluster for it.

    Args:
        source: with all jobs.
        scope: whose results count.
    """
    steps = source.problem.workflow.steps
    found = _results(scope)
    there = {s.name: min(s.width, found.get((s.name, s.tool or ""), 0)) for s in steps if not s.controller}
    there = {name: number for name, number in there.items() if number}
    if not there:
        return source
    jobs = sum(s.width for s in steps if not (s.controller or s.skipped))
    all_of = sum(there.values())
    note = (
        f"at most {all_of} of {jobs} jobs need not run, as results of past runs are there; "
        "the plan is for the others, and for one job of each step at least"
    )
    left = {s.name: max(1, s.width - there.get(s.name, 0)) for s in steps}
    made = source.with_steps([_narrower(s, left) for s in steps], note)
    return replace(made, reusable={s.name: s.width - left[s.name] for s in steps}, reuse=note)


def _narrower(step: Step, left: Mapping[str, int]) -> Step:
    after = [d if left.get(d.step) == left[step.name] else replace(d, each=False) for d in step.after]
    return step.model_copy(update={"width": left[step.name], "after": after})


def _results(scope: Scope) -> Mapping[tuple[str, str], int]:
    folder = runs_folder()
    if not (folder / NAME).exists():  # looking leaves nothing behind
        return {}
    with closing(Results(folder)) as results:
        return results.count(scope)
