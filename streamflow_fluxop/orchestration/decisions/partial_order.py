"""The plan as an order: which jobs come before which, on which nodes, and how far they are.

A partial-order schedule (Policella, Cesta, Oddi, Smith: From precedence constraint posting to partial order
schedules, 2007): times are left out, and what remains is that a block of jobs waits for those that the plan has before
it on the same cores, GPUs and memory. A delay thus moves what depends on it, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from statistics import NormalDist

import networkx

from streamflow_fluxop.model import Assignment, Flavour, Plan, PlannedMiniCluster, Step
from streamflow_fluxop.orchestration.decisions.node_resources import Amount, load_of, nodes_worth
from streamflow_fluxop.orchestration.decisions.planned_batches import TINY, PlannedBatch, StepState


class PartialOrder:
    """Steps and blocks of a plan.

    Args:
        plan: with its problem.
        may_be_skipped: names of steps that only the run tells how often they run.

    Attributes:
        deviated: something came or was over sooner or later than the plan has it, or did not come at all. Until then
            the plan is the timetable.
    """

    def __init__(self, plan: Plan, may_be_skipped: frozenset[str] = frozenset()) -> None:
        self.open_ended = may_be_skipped
        self.deviated = False
        steps = plan.problem.workflow.steps
        graph = _graph(steps)
        depth = _depths(graph)
        ordered = sorted(plan.assignments, key=lambda a: (a.start, a.end, depth[a.step], a.first))
        self.blocks = [_block(i, a) for i, a in enumerate(ordered)]
        of_step: dict[str, list[PlannedBatch]] = {s.name: [] for s in steps}
        for b in self.blocks:
            of_step[b.step].append(b)
        self.steps = {s.name: StepState(s, of_step[s.name], elsewhere=s.controller) for s in steps}
        for name in reversed(list(networkx.topological_sort(graph))):
            after = (self.steps[follower].tail for follower in graph.successors(name))
            self.steps[name].tail = self.steps[name].seconds + max(after, default=0.0)
        self._returned: dict[str, list[tuple[PlannedBatch, int]]] = {}
        for state in self.steps.values():
            for d in state.step.after:
                state.before.append(self.steps[d.step])
                if not d.each:
                    state.every.append(self.steps[d.step])
                self.steps[d.step].followers.append(state)
        self.of: dict[str, list[PlannedBatch]] = {m.name: [] for m in plan.miniclusters}
        flavours = {m.name: plan.problem.flavours[m.flavour] for m in plan.miniclusters}
        for b in self.blocks:
            if b.minicluster is not None:
                self.of[b.minicluster].append(b)
        for name, blocks in self.of.items():
            _chain(blocks, self.steps, flavours[name])
        self.safety_margin, self.value_of_a_second = _safety_margins(plan), _values_of_a_second(plan)
        self.steady: dict[str, int] = {}
        self.gone = {m.name: m.gone for m in plan.miniclusters}
        for m in plan.miniclusters:
            if _is_steady(m, self.of[m.name]):
                self.steady[m.name] = m.size
                _set_common_gaps(self.of[m.name])
            else:
                _set_gaps(m, self.of[m.name])
        for state in self.steps.values():
            _pair(state)
        _set_slack(self.blocks, self.steps)

    def take(self, step: str, index: int | None = None) -> tuple[PlannedBatch, int] | None:
        """A planned job of a step: the one with this index, else the next in order of start; None: all are taken."""
        state = self.steps[step]
        if index is not None and (found := state.planned(index)) and found[0].take(found[1]):
            return found
        returned = self._returned.get(step, [])
        while returned:
            block, job = returned.pop()
            if block.take(job):
                return block, job
        while state.next < len(state.blocks):
            block = state.blocks[state.next]
            if block.taken < block.count and not block.over:
                job = (~block.who & (block.who + 1)).bit_length() - 1  # the first that nobody has
                block.take(job)
                return block, job
            state.next += 1
        return None

    def put_back(self, block: PlannedBatch, job: int) -> None:
        """A job that was taken has been lost, and may come again."""
        block.taken -= 1
        block.who &= ~(1 << job)
        self._returned.setdefault(block.step, []).append((block, job))

    def done(self, block: PlannedBatch, jobs: int = 1) -> list[PlannedBatch]:
        """Note that jobs of a block are over; return the blocks that nothing keeps waiting any more."""
        block.left -= jobs
        if block.left:
            return []
        free = []
        for b in block.before:
            b.waits -= 1
            if not b.waits:
                free.append(b)
        return free

    def give_up(self, step: str) -> list[PlannedBatch]:
        """Note that a step is over, and that its jobs that did not come never will; return as `done` does."""
        state = self.steps[step]
        state.over = True
        state.next = len(state.blocks)
        self._returned.pop(step, None)
        free: list[PlannedBatch] = []
        for block in state.blocks:
            missing = block.count - block.taken
            if missing and not block.over:
                self.deviated |= block.minicluster is not None  # else it ran out of our sight
                block.taken = block.count
                free += self.done(block, missing)
        return free


def _block(index: int, a: Assignment) -> PlannedBatch:
    return PlannedBatch(
        index=index,
        step=a.step,
        first=a.first,
        count=a.count,
        minicluster=a.minicluster,
        start=a.start,
        end=a.end,
        nodes=tuple(a.nodes),
        span=len(a.nodes) // a.count,
        ranks=tuple(sorted(set(a.nodes))),
        top=max(a.nodes, default=0),
        left=a.count,
    )


def _safety_margins(plan: Plan) -> dict[str, float]:
    """By how many standard deviations after the expected time a MiniCluster should be there, for each.

    What it costs to be late by a second is weighed against what it costs to be early: the newsvendor's quantile.
    """
    weight = plan.problem.objective.cost_weight
    late = (1 - weight) / plan.makespan if plan.makespan else 0.0
    safety_margin = {}
    for m in plan.miniclusters:
        price = plan.problem.flavours[m.flavour].price / 3600
        nodes = m.node_seconds / (m.gone - m.asked) if m.gone > m.asked else m.size
        early = weight * nodes * price / plan.cost if plan.cost else 0.0
        share = early / (early + late) if early + late else 0.5
        safety_margin[m.name] = NormalDist().inv_cdf(min(max(share, 0.05), 0.95))
    return safety_margin


def _values_of_a_second(plan: Plan) -> dict[str, float]:
    """How many node-seconds of each MiniCluster it is worth to be over a second earlier, by the plan's objective."""
    weight = min(max(plan.problem.objective.cost_weight, 0.05), 0.95)
    late = (1 - weight) / plan.makespan if plan.makespan else 0.0
    values = {}
    for m in plan.miniclusters:
        node = weight * plan.problem.flavours[m.flavour].price / 3600 / plan.cost if plan.cost else 0.0
        values[m.name] = late / node if node else inf
    return values


def _graph(steps: Iterable[Step]) -> networkx.DiGraph[str]:
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(s.name for s in steps)
    graph.add_edges_from((d.step, s.name) for s in steps for d in s.after)
    return graph


def _depths(graph: networkx.DiGraph[str]) -> dict[str, int]:
    return {name: level for level, layer in enumerate(networkx.topological_generations(graph)) for name in layer}


@dataclass(slots=True)
class _Free:
    """A piece of a node: since when it is free, and who had it."""

    since: float
    block: PlannedBatch | None
    amount: int


def _chain(blocks: Iterable[PlannedBatch], steps: Mapping[str, StepState], flavour: Flavour) -> None:
    """Give each block the ones that had its cores, GPUs and memory before; the latest ones, where there is a choice."""
    pieces: dict[int, tuple[list[_Free], list[_Free], list[_Free]]] = {}
    whole = (flavour.cores, flavour.gpus, flavour.memory)
    for block in blocks:
        load = load_of(steps[block.step].step.needs, flavour)
        if load is None or block.end <= block.start:  # an instant takes nothing from others
            continue
        block.load = load
        block.share = nodes_worth(load, flavour)
        before: dict[int, PlannedBatch] = {}
        for i, rank in enumerate(block.nodes):
            if rank not in pieces:
                pieces[rank] = tuple([_Free(-inf, None, n)] for n in whole)  # type: ignore[assignment]
            part: Amount = load.parts[i % block.span]
            for free, amount in zip(pieces[rank], part, strict=True):
                for owner in _take(free, amount, block):
                    before[owner.index] = owner
        block.after = list(before.values())
        block.waits = len(before)
        for owner in before.values():
            owner.before.append(block)


def _take(free: list[_Free], amount: int, block: PlannedBatch) -> Iterator[PlannedBatch]:
    """Take an amount from pieces that are free when the block starts, and say who had them."""
    if not amount:
        return
    free.sort(key=lambda f: f.since)
    at = len(free) - 1
    while at >= 0 and free[at].since > block.start + TINY:
        at -= 1
    left = amount
    while left and at >= 0:
        piece = free[at]
        n = min(left, piece.amount)
        if piece.block is not None:
            yield piece.block
        piece.amount -= n
        left -= n
        if not piece.amount:
            del free[at]
        at -= 1
    free.append(_Free(block.end, block, amount - left))


def _set_gaps(planned: PlannedMiniCluster, blocks: Iterable[PlannedBatch]) -> None:
    """Say for each block how long its nodes were idle before it, and whether they were there meanwhile."""
    leaves: dict[int, list[float]] = {}
    size = planned.size
    for resize in planned.resizes:
        for rank in range(resize.size, size):
            leaves.setdefault(rank, []).append(resize.at)
        size = resize.size
    ends: dict[int, float] = {}
    for block in blocks:
        for rank in block.nodes:
            last = ends.get(rank)
            if last is not None:
                left = any(last - TINY <= at <= block.start for at in leaves.get(rank, ()))
                block.gaps[rank] = (max(0.0, block.start - last), not left)
        for rank in block.nodes:
            ends[rank] = max(ends.get(rank, 0.0), block.end)


def _is_steady(planned: PlannedMiniCluster, blocks: Iterable[PlannedBatch]) -> bool:
    """Whether the plan keeps a MiniCluster's size although some of its nodes have nothing to do at first or at last."""
    if planned.resizes or planned.size == 1:
        return False
    begins, ends = [inf] * planned.size, [-inf] * planned.size
    for block in blocks:
        for rank in block.nodes:
            begins[rank] = min(begins[rank], block.start)
            ends[rank] = max(ends[rank], block.end)
    return min(ends) < planned.released - TINY or max(begins) > planned.ready + TINY


def _set_common_gaps(blocks: Iterable[PlannedBatch]) -> None:
    """The same for nodes that come and go together."""
    last = inf
    for block in blocks:
        block.gaps = dict.fromkeys(block.nodes, (max(0.0, block.start - last), True))
        last = block.end if last == inf else max(last, block.end)


def _pair(state: StepState) -> None:
    """Find for each block of a step what its jobs wait for one by one."""
    for d in state.step.after:
        source = next(s for s in state.before if s.step.name == d.step)
        if not d.each or not source.blocks:
            continue
        for block in state.blocks:
            waits: dict[int, PlannedBatch] = {}
            for index in range(block.first, block.first + block.count):
                if found := source.planned(index):
                    waits[found[0].index] = found[0]
            block.each += waits.values()


def _set_slack(blocks: Iterable[PlannedBatch], steps: Mapping[str, StepState]) -> None:
    ends = dict.fromkeys(steps, 0.0)
    for b in blocks:
        common = max([0.0, *(other.end for other in b.after), *(ends[s.step.name] for s in steps[b.step].every)])
        each = [other.end for other in b.each]
        b.slack = max(0.0, b.start - max([common, *each]))
        b.put_off = b.start - max(common, min(each, default=0.0)) > TINY
        ends[b.step] = max(ends[b.step], b.end)
