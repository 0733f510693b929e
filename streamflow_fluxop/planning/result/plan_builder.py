"""From a schedule to the plan document."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.model import Plan
from streamflow_fluxop.planning.problem.instance import TICKS
from streamflow_fluxop.planning.result.explanations import reasons
from streamflow_fluxop.planning.result.knowledge import knowledge
from streamflow_fluxop.planning.result.node_nesting import nest_nodes

if TYPE_CHECKING:
    from streamflow_fluxop.model import Alternative, Problem
    from streamflow_fluxop.planning.objective import Judge
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import NodeLease, Schedule


def make_plan(
    problem: Problem,
    instance: Instance,
    schedule: Schedule,
    judge: Judge,
    *,
    seed: int,
    optimal: bool = False,
    bound: float = 0.0,
    cut: bool = False,
    alternatives: list[Alternative] | None = None,
    instead_of: Alternative | None = None,
) -> Plan:
    """The plan that says what a schedule means; a cautious one says what it was made instead of."""
    steps = len(problem.workflow.steps)  # behind them are hubs
    if instance.hubs:
        schedule = replace(schedule, placements=[b for b in schedule.placements if b.step < steps])
    nest_nodes(instance, schedule)
    names = _names(instance, schedule.leases)
    miniclusters = _miniclusters(instance, schedule, names)
    cost = sum(m["cost"] for m in miniclusters)
    goal = judge.goal(schedule.cost, schedule.makespan)
    gap = max(0.0, goal / max(judge.bound(), bound) - 1)
    optimal = optimal or gap < 1e-9
    told = assumptions(problem)
    if instead_of is not None:
        told.insert(0, _why_cautious(schedule, len(names), instead_of))
    if cut:
        told.append(
            "the clock ended the search, which takes far too long on this machine: another run may find another plan"
        )
    plan = Plan(
        problem=problem,
        strategy=schedule.strategy,
        seed=seed,
        miniclusters=miniclusters,
        assignments=_assignments(instance, schedule, names, {s.name for s in problem.workflow.steps if s.skipped}),
        steps=_steps(instance, schedule, names),
        cost=cost,
        makespan=schedule.makespan / TICKS,
        node_seconds=sum(m["node_seconds"] for m in miniclusters),
        score=judge.score(schedule.cost, schedule.makespan),
        bounds={
            "cost": judge.bounds.cost,
            "makespan": judge.bounds.makespan / TICKS,
            "score": judge.bounds.score,
        },
        gap=0.0 if optimal else gap,
        optimal=optimal,
        cut=cut,
        assumptions=told,
        alternatives=alternatives or [],
    )
    return plan.model_copy(update={"knowledge": knowledge(plan)})


def _why_cautious(schedule: Schedule, number: int, fine: Alternative) -> str:
    saved = 100 * (1 - fine.cost / schedule.cost) if schedule.cost else 0.0
    gain = f"would cost {saved:.0f} % less" if saved >= 1 else "would save nothing"
    return (
        f"how long jobs take is not known, so the plan is cautious: {number} MiniClusters, one for each image and "
        f"flavour, which stay between their uses. With {fine.miniclusters} the plan {gain}, if all the guesses were "
        "right; `fluxop estimates` shows what is known after a run, and `--strategy optimal` plans as if they were"
    )


def assumptions(problem: Problem) -> list[str]:
    """Where the numbers of a problem come from."""
    steps = [s for s in problem.workflow.steps if not s.skipped]
    told = {
        "hint": "hints in the workflow",
        "time limit": "time limits, which are upper bounds",
        "history": "past runs",
        "steps": "the fleet's `steps`",
        "tool history": "past runs of the same tools in other workflows",
        "document": "the workflow document",
        "assumed": "nothing: they are assumed",
        "inputs": "the inputs",
    }
    lines = []
    for what, sources in (
        ("durations", [s.duration.source for s in steps]),
        ("widths", [s.width_source for s in steps]),
    ):
        for source, n in sorted(Counter(sources).items()):
            few = [s.name for s, by in zip(steps, sources, strict=True) if by == source] if n <= 5 else []
            which = f" ({', '.join(few)})" if source == "assumed" and few else ""
            lines.append(f"{what} of {n} of {len(steps)} steps come from {told[source]}{which}")
    for text, wanted in (("cores", ["cores"]), ("memory", ["memory"]), ("cores and memory", ["cores", "memory"])):
        if unsaid := [s for s in steps if s.defaults == wanted and not s.controller]:
            lines.append(f"nobody states the {text} of {len(unsaid)} of {len(steps)} steps: they are CWL's defaults")
    if never := [s.name for s in problem.workflow.steps if s.skipped]:
        names = ", ".join(never[:5]) + (f" and {len(never) - 5} more" if len(never) > 5 else "")
        what = "1 step never runs" if len(never) == 1 else f"{len(never)} steps never run"
        lines.append(f"{what}, as a condition is false or a scatter empty: {names}")
    spread = [s for s in steps if s.duration.spread]
    if spread:
        lines.append(
            f"the plan takes expected durations; {len(spread)} steps have a spread, which may move what follows"
        )
    for name, f in problem.flavours.items():
        lines.append(
            f"a {name} node costs {f.price:g} an hour, comes up in {f.bring_up:g} s and is gone after {f.tear_down:g} s"
        )
    return lines


def _names(instance: Instance, leases: list[NodeLease]) -> list[str]:
    """Names of the stacks: the group's name where there is one, else flavour and number."""
    first = {lease.stack: lease for lease in leases if lease.rank == 0}
    names: list[str] = []
    count: Counter[str] = Counter()
    for stack in range(len(first)):
        lease = first[stack]
        base = instance.sharing_classes[lease.sharing].group or instance.flavours[lease.flavour].name
        count[base] += 1
        grouped = instance.sharing_classes[lease.sharing].group is not None
        names.append(base if grouped and count[base] == 1 else f"{base}-{count[base]}")
    if len(set(names)) < len(names):
        names = [f"{name}-m{n}" for n, name in enumerate(names)]
    return names


def _miniclusters(instance: Instance, schedule: Schedule, names: list[str]) -> list[dict[str, Any]]:
    members: list[list[NodeLease]] = [[] for _ in names]
    for lease in schedule.leases:
        members[lease.stack].append(lease)
    steps: list[dict[int, None]] = [{} for _ in names]
    for step, _, _, _, runs in schedule.placements:
        for node, _ in runs:
            steps[schedule.leases[node].stack][step] = None
    why = reasons(instance, members, steps, names)
    result = []
    for stack, leases in enumerate(members):
        flavour, sharing = instance.flavours[leases[0].flavour], instance.sharing_classes[leases[0].sharing]
        start, end = min(lease.first for lease in leases), max(lease.last for lease in leases)
        changes = sorted(
            [(lease.first - flavour.up, 1, lease.first) for lease in leases if lease.first > start]
            + [(lease.last, -1, lease.last + flavour.down) for lease in leases if lease.last < end]
        )
        size = biggest = len(leases) - sum(sign > 0 for _, sign, _ in changes)
        initial = size
        resizes: list[dict[str, Any]] = []
        for at, sign, done in changes:
            size += sign
            biggest = max(biggest, size)
            resize = {"at": at / TICKS, "done": done / TICKS, "size": size}
            if resizes and (resizes[-1]["at"], resizes[-1]["done"]) == (resize["at"], resize["done"]):
                resizes[-1] = resize
            else:
                resizes.append(resize)
        node_ticks = sum(lease.last - lease.first + flavour.up + flavour.down for lease in leases)
        result.append(
            {
                "name": names[stack],
                "flavour": flavour.name,
                "image": sharing.image,
                "binding": sharing.binding,
                "group": sharing.group,
                "size": initial,
                "max_size": biggest,
                "asked": (start - flavour.up) / TICKS,
                "ready": start / TICKS,
                "released": end / TICKS,
                "gone": (end + flavour.down) / TICKS,
                "resizes": resizes,
                "node_seconds": node_ticks / TICKS,
                "cost": node_ticks * flavour.price,
                "steps": [instance.steps[s].name for s in steps[stack]],
                "reasons": why[stack],
            }
        )
    return result


def _assignments(instance: Instance, schedule: Schedule, names: list[str], skipped: set[str]) -> list[dict[str, Any]]:
    """One entry for each part of a placement that lies in one MiniCluster; none of a step that never runs."""
    leases, result = schedule.leases, []
    for step, first, jobs, start, runs in sorted(schedule.placements, key=itemgetter(3, 0, 1)):
        data = instance.steps[step]
        if data.name in skipped:
            continue
        common: dict[str, Any] = {"step": data.name, "start": start / TICKS, "end": (start + data.ticks) / TICKS}
        if len(runs) < 2:
            common |= {"first": first, "count": jobs, "minicluster": None, "nodes": []}
            for lease, n in runs:
                common["minicluster"], common["nodes"] = names[leases[lease].stack], [leases[lease].rank] * n
            result.append(common)
            continue
        span = instance.kinds[data.kind].on(leases[runs[0][0]].flavour).nodes
        stack, nodes, begin = leases[runs[0][0]].stack, list[int](), first
        for lease, n in runs:
            if leases[lease].stack != stack:
                count = len(nodes) // span
                result.append({**common, "first": begin, "count": count, "minicluster": names[stack], "nodes": nodes})
                stack, nodes, begin = leases[lease].stack, [], begin + count
            nodes += [leases[lease].rank] * n
        count = len(nodes) // span
        result.append({**common, "first": begin, "count": count, "minicluster": names[stack], "nodes": nodes})
    return result


def _steps(instance: Instance, schedule: Schedule, names: list[str]) -> list[dict[str, Any]]:
    leases = schedule.leases
    start: list[int | None] = [None] * len(instance.steps)
    end = [0] * len(instance.steps)
    where: list[dict[int, None]] = [{} for _ in instance.steps]
    ticks = instance.ticks
    for s, _, _, at, runs in schedule.placements:
        begun = start[s]
        if begun is None or at < begun:
            start[s] = at
        if at + ticks[s] > end[s]:
            end[s] = at + ticks[s]
        for lease, _ in runs:
            where[s][leases[lease].stack] = None
    return [
        {
            "step": step.name,
            "start": (start[s] or 0) / TICKS,
            "end": end[s] / TICKS,
            "miniclusters": [names[stack] for stack in where[s]],
        }
        for s, step in enumerate(instance.steps[: len(instance.steps) - instance.hubs])
    ]
