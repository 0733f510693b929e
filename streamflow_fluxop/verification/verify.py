"""Checks a plan against its problem, job by job and node by node.

It knows the documents only, nothing of how plans are made, so a mistake in the planner can't hide here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, isclose
from typing import TYPE_CHECKING

from streamflow_fluxop.model import NODE_LIMITS
from streamflow_fluxop.model.sizes import too_large

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamflow_fluxop.model import Assignment, Flavour, Needs, Plan, PlannedMiniCluster, Step

SLACK = 2e-3
"""Seconds by which times may be off: the planner rounds durations up to milliseconds."""
TINY = 1e-6
NODES = 1_000_000
"""Of a MiniCluster, at most: each is looked at."""


def verify(plan: Plan) -> list[str]:
    """The rules that a plan breaks, a sentence each; empty where it is sound.

    Checked: every job of every step runs once, after everything that it waits for, for as long as it takes; in a
    MiniCluster of its image, binding, group and one of its flavours, on nodes that are up and have the cores, GPUs
    and memory left; nothing else on the nodes of an exclusive job; MiniClusters come up and go in the flavour's
    times; the limits hold from the moment that a node is asked for until it is gone; cost, node-seconds, makespan,
    deadline and budget are right.
    """
    checks = _Checks(plan)
    return (
        [f"{e.where}: {e.what}" for e in too_large(plan.problem)]
        or [*checks.references()]
        or [
            problem
            for check in (
                checks.lifetimes,
                checks.jobs_once,
                checks.durations,
                checks.precedence,
                checks.compatibility,
                checks.groups,
                checks.nodes,
                checks.limits,
                checks.totals,
            )
            for problem in check()
        ]
    )


@dataclass(slots=True)
class _Span:
    """A node, as its rank in the MiniCluster, for one stretch of being up."""

    asked: float
    ready: float
    released: float
    gone: float


class _Checks:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.problem = plan.problem
        self.steps: dict[str, Step] = {s.name: s for s in plan.problem.workflow.steps}
        self.clusters: dict[str, PlannedMiniCluster] = {m.name: m for m in plan.miniclusters}
        self.by_step: dict[str, list[Assignment]] = defaultdict(list)
        for a in plan.assignments:
            self.by_step[a.step].append(a)

    def flavour(self, cluster: PlannedMiniCluster) -> Flavour:
        return self.problem.flavours[cluster.flavour]

    def references(self) -> Iterator[str]:
        if len(self.clusters) < len(self.plan.miniclusters):
            yield "two MiniClusters have the same name"
        for m in self.plan.miniclusters:
            if m.flavour not in self.problem.flavours:
                yield f"MiniCluster {m.name}: there is no flavour {m.flavour}"
            if (most := max(m.size, *(r.size for r in m.resizes), 0)) > NODES:
                yield f"MiniCluster {m.name}: it has {most} nodes, {NODES} at most can be checked"
        if len(self.steps) < len(self.problem.workflow.steps):
            yield "two steps of the workflow have the same name"
        for step in self.steps.values():
            for d in step.after:
                if d.step not in self.steps:
                    yield f"step {step.name} waits for {d.step}, which is no step of the workflow"
                elif d.each and self.steps[d.step].width != step.width:
                    yield f"step {step.name} waits job by job for {d.step}, which has another width"
        for a in self.plan.assignments:
            if a.step not in self.steps:
                yield f"jobs of {a.step}, which is no step of the workflow"
            elif a.minicluster is not None and a.minicluster not in self.clusters:
                yield f"step {a.step} runs in {a.minicluster}, which is no MiniCluster of the plan"
            elif (a.minicluster is None) != self.steps[a.step].controller:
                yield f"step {a.step}: only controller steps, and all of them, run without a MiniCluster"
            elif a.first + a.count > self.steps[a.step].width:
                yield f"step {a.step}: it has {self.steps[a.step].width} jobs, and the plan runs {a.first + a.count}"

    def spans(self, cluster: PlannedMiniCluster) -> list[list[_Span]]:
        """For each rank its stretches of being up, in order of time."""
        ranks = [[_Span(cluster.asked, cluster.ready, inf, inf)] for _ in range(cluster.size)]
        size = cluster.size
        for r in cluster.resizes:
            for rank in range(size, r.size):
                if rank == len(ranks):
                    ranks.append([])
                ranks[rank].append(_Span(r.at, r.done, inf, inf))
            for rank in range(r.size, size):
                ranks[rank][-1].released, ranks[rank][-1].gone = r.at, r.done
            size = r.size
        for spans in ranks:
            if spans[-1].released == inf:
                spans[-1].released, spans[-1].gone = cluster.released, cluster.gone
        return ranks

    def lifetimes(self) -> Iterator[str]:
        for m in self.plan.miniclusters:
            flavour, where = self.flavour(m), f"MiniCluster {m.name}"
            if not _equal(m.ready, m.asked + flavour.bring_up):
                yield f"{where}: it is ready {m.ready - m.asked:g} s after it was asked for, not {flavour.bring_up:g}"
            if not _equal(m.gone, m.released + flavour.tear_down):
                yield f"{where}: it is gone {m.gone - m.released:g} s after its release, not {flavour.tear_down:g}"
            if m.released < m.ready - SLACK:
                yield f"{where}: it is released before it is ready"
            sizes = [m.size, *(r.size for r in m.resizes)]
            if max(sizes) != m.max_size:
                yield f"{where}: max_size is {m.max_size}, but its largest size is {max(sizes)}"
            if [r.at for r in m.resizes] != sorted(r.at for r in m.resizes):
                yield f"{where}: its resizes are not in order of time"
            for before, r in zip(sizes, m.resizes, strict=False):
                takes = flavour.bring_up if r.size > before else flavour.tear_down
                if not _equal(r.done, r.at + takes):
                    yield f"{where}: the resize at {r.at:g} s takes {r.done - r.at:g} s, not {takes:g}"
                if r.at < m.asked - SLACK or max(r.at, r.done if r.size > before else r.at) > m.released + SLACK:
                    yield f"{where}: the resize at {r.at:g} s is outside its life"
            for rank, spans in enumerate(self.spans(m)):
                for one, other in pairwise(spans):
                    if other.asked < one.gone - SLACK:
                        yield f"{where}: node {rank} is asked for again at {other.asked:g} s, before it is gone"
                for one in spans:
                    if one.released < one.ready - SLACK:
                        yield f"{where}: node {rank} leaves at {one.released:g} s, before it is ready"

    def jobs_once(self) -> Iterator[str]:
        for name, step in self.steps.items():
            done = 0
            for a in sorted(self.by_step[name], key=lambda a: a.first):
                if a.first != done:
                    yield f"step {name}: job {min(a.first, done)} runs {'twice' if a.first < done else 'never'}"
                done = max(done, a.first + a.count)
            width = 0 if step.skipped else step.width
            if done != width:
                yield f"step {name}: it has {width} jobs, and the plan runs {done}"

    def durations(self) -> Iterator[str]:
        for a in self.plan.assignments:
            expected = self.steps[a.step].duration.seconds
            if not expected - TINY <= a.end - a.start <= expected + SLACK:
                yield f"step {a.step}: job {a.first} takes {a.end - a.start:g} s, not {expected:g}"
        for estimate in self.plan.steps:
            own = self.by_step[estimate.step]
            if own and not (
                _equal(estimate.start, min(a.start for a in own)) and _equal(estimate.end, max(a.end for a in own))
            ):
                yield f"step {estimate.step}: its estimated start and end are not those of its jobs"
        if [e.step for e in self.plan.steps] != list(self.steps):
            yield "the plan does not estimate every step once, in the workflow's order"

    def precedence(self) -> Iterator[str]:
        ends = {name: max((a.end for a in own), default=0.0) for name, own in self.by_step.items()}
        for name, step in self.steps.items():
            for d in step.after:
                if not d.each:
                    for a in self.by_step[name]:
                        if a.start < ends.get(d.step, 0.0) - TINY:
                            yield f"step {name}: job {a.first} starts at {a.start:g} s, before {d.step} is over"
                    continue
                end = [0.0] * self.steps[d.step].width
                for a in self.by_step[d.step]:
                    end[a.first : a.first + a.count] = [a.end] * a.count
                for a in self.by_step[name]:
                    if a.start < max(end[a.first : a.first + a.count], default=0.0) - TINY:
                        yield f"step {name}: a job from {a.first} on starts before the same job of {d.step} is over"

    def compatibility(self) -> Iterator[str]:
        for a in self.plan.assignments:
            if a.minicluster is None:
                continue
            step, m = self.steps[a.step], self.clusters[a.minicluster]
            for what, wanted, has in (
                ("image", step.image, m.image),
                ("binding", step.binding, m.binding),
                ("group", step.group, m.group),
            ):
                if wanted != has:
                    yield f"step {a.step}: its {what} is {wanted}, that of MiniCluster {m.name} is {has}"
            if step.flavours and m.flavour not in step.flavours:
                yield f"step {a.step} may not run on {m.flavour}, the flavour of MiniCluster {m.name}"

    def groups(self) -> Iterator[str]:
        for group in {s.group for s in self.steps.values() if s.group is not None}:
            names = [m.name for m in self.plan.miniclusters if m.group == group]
            if len(names) > 1:
                yield f"the group {group} is spread over the MiniClusters {', '.join(names)}"

    def nodes(self) -> Iterator[str]:
        """Every node at every moment: what runs there fits into what it has, and it is up."""
        spans = {m.name: self.spans(m) for m in self.plan.miniclusters}
        changes: dict[tuple[str, int], list[tuple[float, int, int, int, int, int]]] = defaultdict(list)
        for a in self.plan.assignments:
            if a.minicluster is None:
                continue
            needs, where = self.steps[a.step].needs, f"step {a.step}: job {a.first}"
            flavour = self.flavour(self.clusters[a.minicluster])
            if not a.nodes or len(a.nodes) % a.count:
                yield f"{where}: {len(a.nodes)} nodes for {a.count} jobs"
                continue
            span = len(a.nodes) // a.count
            if span > needs.tasks or (needs.nodes is not None and span != needs.nodes):
                yield f"{where}: it runs on {span} nodes, and needs {needs.nodes or 'fewer'}"
            loads = [_load(needs, flavour, span, i) for i in range(span)]
            for j in range(a.count):
                own = a.nodes[j * span : (j + 1) * span]
                if len(set(own)) != span:
                    yield f"{where}: a job is twice on the same node"
                for rank, (cores, gpus, memory) in zip(own, loads, strict=True):
                    if cores > flavour.cores or gpus > flavour.gpus or memory > flavour.memory:
                        yield f"{where}: it does not fit on {self.clusters[a.minicluster].flavour} nodes"
                    if a.end <= a.start:
                        continue  # an instant takes nothing from the others
                    entry = (cores, gpus, memory, int(needs.exclusive))
                    changes[a.minicluster, rank].append((a.end, 0, -entry[0], -entry[1], -entry[2], -entry[3]))
                    changes[a.minicluster, rank].append((a.start, 1, *entry))
            for rank in set(a.nodes):
                up = spans[a.minicluster][rank] if rank < len(spans[a.minicluster]) else []
                if not any(s.ready <= a.start + SLACK and a.end <= s.released + SLACK for s in up):
                    yield f"{where}: node {rank} of {a.minicluster} is not up from {a.start:g} to {a.end:g} s"
        for (name, rank), entries in changes.items():
            flavour = self.flavour(self.clusters[name])
            for what, at in _overfull(entries, flavour):
                yield f"MiniCluster {name}: node {rank} has too few {what} at {at:g} s"

    def limits(self) -> Iterator[str]:
        """Every limit at every moment, from asked for until gone."""
        limits = self.problem.limits
        changes: list[tuple[float, int, str, int, int]] = []
        for m in self.plan.miniclusters:
            changes += [(m.asked, 1, m.flavour, 0, 1), (m.gone, 0, m.flavour, 0, -1)]
            for spans in self.spans(m):
                for s in spans:
                    changes += [(s.asked, 1, m.flavour, 1, 0), (s.gone, 0, m.flavour, -1, 0)]
        changes.sort()
        if changes and changes[0][0] < -SLACK:
            yield "a MiniCluster is asked for before the start"
        held: dict[str, int] = dict.fromkeys(self.problem.flavours, 0)
        clusters = 0
        for i, (at, _, flavour, nodes, whole) in enumerate(changes):
            held[flavour] += nodes
            clusters += whole
            if i + 1 < len(changes) and changes[i + 1][0] <= at + SLACK / 2:
                continue
            all_of = [(self.problem.flavours[f], n) for f, n in held.items() if n]
            uses = [(k.name, k.of(limits), sum(n * k.amount(f) for f, n in all_of)) for k in NODE_LIMITS]
            for what, limit, use in (*uses, ("miniclusters", limits.miniclusters, clusters)):
                if limit is not None and use > limit * (1 + TINY):
                    yield f"limit {what}={limit:g}: {use:g} are held at {at:g} s"
            for f, n in held.items():
                count = self.problem.flavours[f].count
                if count is not None and n > count:
                    yield f"flavour {f}: {n} nodes are held at {at:g} s, and there are {count}"

    def totals(self) -> Iterator[str]:
        plan = self.plan
        cost = node_seconds = 0.0
        ran: dict[str, set[str]] = defaultdict(set)
        for a in plan.assignments:
            if a.minicluster is not None:
                ran[a.minicluster].add(a.step)
        for m in plan.miniclusters:
            own = sum(s.gone - s.asked for spans in self.spans(m) for s in spans)
            price = own * self.flavour(m).price / 3600
            for what, told, true in (("node_seconds", m.node_seconds, own), ("cost", m.cost, price)):
                if not _close(told, true):
                    yield f"MiniCluster {m.name}: {what} is {true:g}, not {told:g}"
            cost, node_seconds = cost + price, node_seconds + own
            if ran[m.name] != set(m.steps):
                yield f"MiniCluster {m.name}: the steps that it names are not those that run in it"
        makespan = max((a.end for a in plan.assignments), default=0.0)
        for what, told, true in (
            ("cost", plan.cost, cost),
            ("node_seconds", plan.node_seconds, node_seconds),
            ("makespan", plan.makespan, makespan),
        ):
            if not _close(told, true):
                yield f"{what} is {true:g}, not {told:g}"
        if plan.cost < plan.bounds.cost * (1 - TINY) or plan.makespan < plan.bounds.makespan * (1 - TINY) - SLACK:
            yield "cost or makespan is below its bound"
        objective = self.problem.objective
        if objective.deadline is not None and plan.makespan > objective.deadline + SLACK:
            yield f"it ends after {plan.makespan:g} s, and the deadline is {objective.deadline:g} s"
        if objective.budget is not None and plan.cost > objective.budget * (1 + TINY):
            yield f"it costs {plan.cost:g}, and the budget is {objective.budget:g}"


def _equal(a: float, b: float) -> bool:
    return abs(a - b) <= SLACK


def _close(a: float, b: float) -> bool:
    return isclose(a, b, rel_tol=1e-6, abs_tol=1e-4)


def _load(needs: Needs, flavour: Flavour, span: int, i: int) -> tuple[int, int, int]:
    """Cores, GPUs and memory that a job takes on its i-th node; its tasks are spread evenly, the first nodes fuller."""
    if needs.exclusive:
        return flavour.cores, flavour.gpus, flavour.memory
    tasks = needs.tasks // span + (i < needs.tasks % span)
    return tasks * needs.cores_per_task, tasks * needs.gpus_per_task, ceil(tasks * needs.memory / needs.tasks)


def _overfull(entries: list[tuple[float, int, int, int, int, int]], flavour: Flavour) -> Iterator[tuple[str, float]]:
    cores = gpus = memory = alone = running = 0
    for at, begins, c, g, m, x in sorted(entries):
        cores, gpus, memory, alone = cores + c, gpus + g, memory + m, alone + x
        running += 1 if begins else -1
        if cores > flavour.cores:
            yield "cores", at
        if gpus > flavour.gpus:
            yield "GPUs", at
        if memory > flavour.memory:
            yield "MiB of memory", at
        if alone and running > 1:
            yield "nodes for an exclusive job", at
