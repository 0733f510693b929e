"""How much of a plan is known, and how much is guessed."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from streamflow_fluxop.model import Knowledge

if TYPE_CHECKING:
    from streamflow_fluxop.model import Assignment, Flavour, Plan, Problem, Step

GUESSES = ("assumed", "time limit")
"""Sources of a duration that say little about it."""


def knowledge(plan: Plan) -> Knowledge:
    """What a plan rests on."""
    steps = [s for s in plan.problem.workflow.steps if not s.controller]
    assumed = [s for s in steps if s.duration.source == "assumed"]
    guessed = {s.name for s in steps if _is_guess(s)}
    everything = len(guessed) == len(steps)
    return Knowledge(
        jobs=sum(s.width for s in steps),
        assumed=sum(s.width for s in assumed),
        limited=sum(s.width for s in steps if s.duration.source == "time limit"),
        least=min((s.duration.seconds for s in assumed), default=0.0),
        most=max((s.duration.seconds for s in assumed), default=0.0),
        widths=sum(s.width_source == "assumed" for s in steps),
        chain=_of_chain(plan, guessed) if guessed else 0.0,
        cost=(1.0 if everything else _of_cost(plan, guessed)) if guessed else 0.0,
    )


def known_nothing(problem: Problem) -> bool:
    """Whether all jobs' durations are guesses."""
    steps = [s for s in problem.workflow.steps if not s.controller]
    return bool(steps) and all(s.duration.source in GUESSES for s in steps)


def _is_guess(step: Step) -> bool:
    return step.duration.source in GUESSES or step.width_source == "assumed"


def _of_chain(plan: Plan, guessed: set[str]) -> float:
    """The guessed share of the chain of jobs, bring-ups and tear-downs that ends with the last job."""
    if not plan.makespan:
        return 0.0
    chain = longest_chain(plan)
    return min(1.0, sum(a.end - a.start for a in chain if a.step in guessed) / plan.makespan)


def longest_chain(plan: Plan) -> list[Assignment]:
    """The jobs of which each waits for the one before it, the last of which is over last.

    What a job waits for is what ends when it starts: a job whose output it reads, else one that leaves it room.
    Before its MiniCluster is up, that is what ends when the MiniCluster is asked for.
    """
    ends: dict[float, list[Assignment]] = defaultdict(list)
    for a in plan.assignments:
        ends[_key(a.end)].append(a)
    after = {s.name: s.after for s in plan.problem.workflow.steps}
    members = {m.name: m for m in plan.miniclusters}
    chain: list[Assignment] = []
    job = max(plan.assignments, key=lambda a: a.end, default=None)
    while job is not None and len(chain) <= len(plan.assignments):
        chain.append(job)
        before = [a for a in ends[_key(job.start)] if a.end > a.start]
        if not before and job.minicluster is not None:  # its nodes have just come
            flavour = plan.problem.flavours[members[job.minicluster].flavour]
            asked = job.start - flavour.bring_up
            before = [a for a in ends[_key(asked)] if a.end > a.start and a.end <= job.start]
        names = {d.step for d in after[job.step]}
        best = [a for a in before if a.step in names] or [a for a in before if a.minicluster == job.minicluster]
        job = next(iter(best or before), None)
    return chain


def _key(seconds: float) -> float:
    return round(seconds, 3)


def _of_cost(plan: Plan, guessed: set[str]) -> float:
    """The share of the cost that guessed jobs have, if those of a MiniCluster share its cost by their work."""
    if not plan.cost:
        return 0.0
    steps = {s.name: s for s in plan.problem.workflow.steps}
    flavours = {m.name: plan.problem.flavours[m.flavour] for m in plan.miniclusters}
    shares: dict[tuple[str, str], float] = {}
    work: dict[str, float] = defaultdict(float)
    of_guesses: dict[str, float] = defaultdict(float)
    for a in plan.assignments:
        if a.minicluster is None:
            continue
        key = (a.step, a.minicluster)
        if key not in shares:
            shares[key] = _share(steps[a.step], flavours[a.minicluster])
        done = a.count * (a.end - a.start) * shares[key]
        work[a.minicluster] += done
        if a.step in guessed:
            of_guesses[a.minicluster] += done
    known = sum(m.cost * of_guesses[m.name] / work[m.name] for m in plan.miniclusters if work[m.name])
    return min(1.0, known / plan.cost)


def _share(step: Step, flavour: Flavour) -> float:
    """Nodes that a job is worth, by what it takes most of."""
    needs = step.needs
    if needs.exclusive:
        return float(needs.nodes_on(flavour) or 1)
    parts = [needs.tasks * needs.cores_per_task / flavour.cores]
    if flavour.gpus:
        parts.append(needs.tasks * needs.gpus_per_task / flavour.gpus)
    if flavour.memory:
        parts.append(needs.memory / flavour.memory)
    return max(parts)
