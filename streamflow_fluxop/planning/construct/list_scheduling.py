"""List scheduling in upward-rank order on nodes that come just in time and go when they are not needed soon.

The schedule is made in order of time. At each moment the jobs that are ready take, by priority (upward rank, as HEFT:
Topcuoglu, Hariri, Wu 2002), first the free places of busy nodes, then nodes that turned idle a moment ago, then, as
long as the choices and the limits allow, new nodes. Because durations are estimates known beforehand, a new node
that is needed at time t has been asked for at t minus its bring-up: nothing waits for a bring-up, except at the
very beginning and where a limit left no room then. Where a limit binds, idle nodes of other pools give way, the
longest idle first, and jobs of lower priority start nothing new before the one that waits has got its node.

The work is O((jobs + nodes) log) for a bounded number of kinds of job: a block of a scatter is placed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import ceil
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.node_pool import FreeYard, StackYard
from streamflow_fluxop.planning.construct.resource_profile import Room
from streamflow_fluxop.planning.result.schedule import Block, Life, Schedule, make_schedule

if TYPE_CHECKING:
    from streamflow_fluxop.planning.construct.resource_profile import Weight
    from streamflow_fluxop.planning.problem.instance import Instance

ENDS = 1 << 59
"""Events of the same time are in this order: blocks that end, by their numbers below this one;"""
DUE = 1 << 60
"""bookings that are due, this less their numbers; yards that are looked at again, this plus their numbers."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a list schedule leaves open, for a search to decide.

    Attributes:
        caps: for each stage, how many nodes of its pool and flavour may be busy for its jobs to open one more.
        flavours: for each stage the flavour that it runs on.
        bias: for each stage, ticks added to its upward rank.
        late: for each stage, ticks by which a new node for its jobs may come later (or sooner, if negative) than
            `horizon` says.
        roam: for each stage, whether its jobs may use free places on busy nodes of other flavours.
        ranks: for each step its priority, where that is not to be upward rank plus bias.
        horizon: jobs that can wait for a free place and still be over, with all that follows them, by this time
            open no node.
        ease: how long a node may have been idle, as a share of the break-even time, to be used again in spite of
            the cap.
        patience: by how many ticks jobs of another pool may outrank a job that waits for room and still let it go
            first.
    """

    caps: tuple[int, ...]
    flavours: tuple[int, ...]
    bias: tuple[float, ...]
    late: tuple[float, ...]
    roam: tuple[bool, ...]
    ranks: tuple[float, ...] | None = None
    horizon: float = 0.0
    ease: float = 1.0
    patience: float = 0.0


def list_schedule(instance: Instance, stages: tuple[int, ...], choices: Choices) -> Schedule:
    """Make a schedule.

    Args:
        instance: the problem.
        stages: for each step the stage that it belongs to, -1 for controller steps.
        choices: an entry a stage.

    Raises:
        UserError: a group's MiniCluster stays up and leaves no room for what the group waits for.
    """
    return _Run(instance, stages, choices).schedule()


def _sum(a: Weight, b: Weight) -> Weight:
    return tuple(x + y for x, y in zip(a, b, strict=True))


class _Run:
    def __init__(self, instance: Instance, stages: tuple[int, ...], choices: Choices) -> None:
        self.instance = instance
        self.ticks = instance.ticks
        self.kind_of = instance.kind_of
        self.stages = stages
        self.choices = choices
        self.lives: list[Life] = []
        self.blocks: list[Block] = []
        counted = instance.max_miniclusters is not None
        capacity = instance.capacity
        self.room = Room((*capacity, float(instance.max_miniclusters or 0)) if counted else capacity)
        self.limited = bool(capacity) or counted
        self.yards: list[FreeYard | StackYard] = []
        yard_of = [-1] * (len(choices.flavours) + 1)  # a controller step's stage is -1
        index: dict[tuple[int, int], int] = {}
        spans = {
            (k.pool, f) for k in instance.kinds for f, fit in enumerate(k.fits) if fit is not None and fit.nodes > 1
        }
        for stage, kind in dict(zip(stages, instance.kind_of, strict=True)).items():
            if stage < 0:
                continue
            key = (instance.kinds[kind].pool, choices.flavours[stage])
            if key not in index:
                index[key] = len(self.yards)
                keep = instance.pools[key[0]].group is not None
                if keep or counted or key in spans:
                    self.yards.append(StackYard(instance, *key, self.lives, self.room, keep=keep, counted=counted))
                else:
                    self.yards.append(FreeYard(instance, *key, self.lives, self.room))
            yard_of[stage] = index[key]
        self.yard_of = [yard_of[stage] for stage in stages]
        if any(p.group is not None for p in instance.pools):
            for number, width in zip(self.yard_of, instance.widths, strict=True):
                if number >= 0:
                    self.yards[number].jobs += width
        self.roams: list[dict[int, list[int]]] = [{} for _ in self.yards]
        for (pool, _), y in index.items():
            if not isinstance(self.yards[y], FreeYard):
                continue
            for kind in self.yards[y].fits:
                self.roams[y][kind] = [
                    o
                    for (p, _), o in index.items()
                    if p == pool and o != y and kind in self.yards[o].fits and isinstance(self.yards[o], FreeYard)
                ]
        self.near = [[y, *(o for (p, _), o in index.items() if p == pool and o != y)] for (pool, _), y in index.items()]
        self.stalled: list[set[int]] = [set() for _ in self.yards]
        self.where: list[int] = []
        self.alarms: set[tuple[int, int]] = set()
        self.events: list[tuple[int, int]] = []
        self.bookings: list[tuple[int, int, Weight, int]] = []
        self.left = list(instance.widths)
        self.waits = list(instance.waits)
        self.waits_each = [
            [n] * width if n else None for n, width in zip(instance.waits_each, instance.widths, strict=True)
        ]
        self.patience = choices.patience
        self.dirty: set[int] = set()
        self.hungry: set[int] = set()
        tails = instance.tails
        if choices.ranks is not None:
            self.rank = [-r for r in choices.ranks]
        else:
            self.rank = [-(t + choices.bias[g]) if g >= 0 else -float(t) for t, g in zip(tails, stages, strict=True)]

    def schedule(self) -> Schedule:
        for s, step in enumerate(self.instance.steps):
            if not step.before:
                self.ready(s, 0, step.width, 0)
        self.serve(0)
        events = self.events
        while events:
            now = events[0][0]
            while events and events[0][0] == now:
                _, event = heappop(events)
                if event < ENDS:
                    self.over(event, now)
                elif event < DUE:
                    self.due(DUE - event - 1)
                else:
                    self.wake(event - DUE)
            if self.dirty:
                self.serve(now)
            if not events and any(self.left):
                self.patience = float("inf")
                for yard in range(len(self.yards)):
                    self.wake(yard)
                self.serve(now)
        if any(self.left):
            raise self.stuck()
        return make_schedule(self.instance, self.lives, self.blocks, "list")

    def ready(self, step: int, first: int, count: int, now: int) -> None:
        """Jobs can start: queue them, or start them if they are the controller's."""
        number = self.yard_of[step]
        if number < 0:
            self.start(step, first, count, now, [], -1)
            return
        kind, stalled = self.kind_of[step], self.stalled[number]
        if self.yards[number].add(kind, (self.rank[step], step, first, count)):
            stalled.discard(kind)
            self.dirty.add(number)
        elif kind not in stalled:
            self.dirty.add(number)

    def wake(self, yard: int) -> None:
        """Try all kinds of a yard again."""
        self.stalled[yard].clear()
        self.dirty.add(yard)

    def unstall(self, number: int, yard: FreeYard | StackYard, nodes: list[int]) -> bool:
        """Try those kinds again of which a job would fit on one of the nodes; whether there are any."""
        stalled = self.stalled[number]
        found = []
        for kind in stalled:
            if kind in yard.fits:
                for node in nodes:
                    if yard.holds(node, kind):
                        found.append(kind)
                        break
        stalled.difference_update(found)
        return bool(found)

    def start(self, step: int, first: int, count: int, now: int, runs: list[tuple[int, int]], yard: int) -> None:
        self.where.append(yard)
        heappush(self.events, (now + self.ticks[step], len(self.blocks)))
        self.blocks.append(Block(step, first, count, now, runs))

    def over(self, number: int, now: int) -> None:
        """Jobs are over: free their nodes, and find out which jobs can start."""
        s, first, count, _, runs = self.blocks[number]
        if runs:
            yard = self.where[number]
            here = self.yards[yard]
            if here.over(self.kind_of[s], runs, now):
                self.wake(yard)
                for other in self.hungry:
                    self.wake(other)
            nodes = None
            for other in self.near[yard]:
                if self.stalled[other]:
                    nodes = nodes or here.nodes_of(runs)
                    if self.unstall(other, here, nodes):
                        self.dirty.add(other)
            self.yards[self.yard_of[s]].jobs -= count
        self.left[s] = left = self.left[s] - count
        for t, each in self.instance.steps[s].after:
            if each:
                waits = self.waits_each[t]
                assert waits is not None
                for job in range(first, first + count):
                    waits[job] -= 1
                if not self.waits[t]:
                    self.ready_of(t, first, first + count, now)
            elif not left:
                self.waits[t] = open_ = self.waits[t] - 1
                if not open_:
                    if self.waits_each[t] is None:
                        self.ready(t, 0, self.instance.widths[t], now)
                    else:
                        self.ready_of(t, 0, self.instance.widths[t], now)

    def ready_of(self, step: int, first: int, end: int, now: int) -> None:
        """Queue the jobs of a range that wait for nothing more, as few blocks as possible."""
        waits = self.waits_each[step]
        assert waits is not None
        job = first
        while job < end:
            if waits[job]:
                job += 1
                continue
            begin = job
            while job < end and not waits[job]:
                waits[job] = -1
                job += 1
            self.ready(step, begin, job - begin, now)

    def due(self, booking: int) -> None:
        """Nodes that were booked are up: their room is the yard's, if it still wants them."""
        yard, at, weight, nodes = self.bookings[booking]
        self.room.free(at, weight)
        self.yards[yard].coming -= nodes
        self.stalled[yard].clear()
        self.serve_yard(yard, at + self.yards[yard].data.up)
        for other in self.hungry:
            self.wake(other)

    def serve(self, now: int) -> None:
        """Start what can start, the yards in order of their most urgent jobs."""
        while self.dirty:
            todo = list(self.dirty)
            if len(todo) > 1:
                todo.sort(key=lambda y: (self.yards[y].head(), y))
            self.dirty = set()
            for yard in todo:
                if self.hungry:
                    head = self.yards[yard].head() - self.patience
                    if any(self.yards[y].head() < head for y in self.hungry if y != yard):
                        self.hungry.add(yard)
                        continue
                self.serve_yard(yard, now)

    def serve_yard(self, number: int, now: int) -> None:
        yard = self.yards[number]
        self.hungry.discard(number)
        blocked = self.stalled[number]
        queues = yard.queues
        heads = [(queue[0], kind) for kind, queue in queues.items() if kind not in blocked]
        if len(heads) > 1:
            heapify(heads)
        while heads:
            (rank, step, first, count), kind = heads[0]
            left = self.place(number, kind, step, first, count, now)
            queue = queues[kind]
            if left:
                heappop(heads)
                blocked.add(kind)
                if left < count:
                    heapreplace(queue, (rank, step, first + count - left, left))
                continue
            heappop(queue)
            if queue:
                heapreplace(heads, (queue[0], kind))
            else:
                heappop(heads)
                del queues[kind]

    def place(self, number: int, kind: int, step: int, first: int, count: int, now: int) -> int:
        """Put jobs on nodes; how many did not find a place."""
        end = now + self.ticks[step]
        runs: list[tuple[int, int]] = []
        want = self.yards[number].fill(kind, count, end, runs)
        if want:
            want = self.open(number, kind, step, want, now, end, runs)
        if want < count:
            self.where.append(number)
            heappush(self.events, (end, len(self.blocks)))
            self.blocks.append(Block(step, first, count - want, now, runs))
        if want and self.choices.roam[self.stages[step]]:
            for other in self.roams[number].get(kind, ()):
                runs = []
                left = self.yards[other].fill(kind, want, end, runs)
                if left < want:
                    self.start(step, first + count - want, want - left, now, runs, other)
                    want = left
                if not want:
                    break
        return want

    def open(
        self, number: int, kind: int, step: int, want: int, now: int, end: int, runs: list[tuple[int, int]]
    ) -> int:
        """Put jobs on idle and new nodes, as far as choices and limits allow; how many did not find a place."""
        yard, choices, stage = self.yards[number], self.choices, self.stages[step]
        fit = yard.fits[kind]
        latest = choices.horizon + choices.late[stage] - self.instance.tails[step]
        cap = max(choices.caps[stage], fit.nodes)
        while want:
            extra = yard.extra(kind, want)
            nodes = yard.recently_idle(now, choices.ease * yard.even, extra)
            if now >= latest:
                nodes = max(nodes, min(extra, cap - yard.busy))
            elif nodes < extra:
                self.alarm(number, latest)
            if nodes <= 0 or (fit.nodes > 1 and nodes < extra):
                break
            idle = min(nodes, len(yard.idle))
            new = nodes - idle
            if new:
                new = self.grant(number, new, now, all_or_none=fit.nodes > 1)
            if idle + new == 0 or (fit.nodes > 1 and idle + new < extra):
                break
            want = yard.grow(kind, want, idle, new, now, end, runs)
            if idle + new < nodes:
                break
        return want

    def alarm(self, number: int, at: float) -> None:
        """Look at a yard again when a job there can't wait any longer."""
        if (number, ceil(at)) not in self.alarms:
            self.alarms.add((number, ceil(at)))
            heappush(self.events, (ceil(at), DUE + number))

    def grant(self, number: int, nodes: int, now: int, *, all_or_none: bool) -> int:
        """How many of so many new nodes can be up now; the others are booked as soon as there will be room for them."""
        yard = self.yards[number]
        at = now - yard.data.up
        if at >= 0 and not self.limited:
            return nodes
        step = nodes if all_or_none else 1
        if self.room.full(yard.weight(step)) and not any(y.idle for y in self.yards):
            self.hungry.add(number)
            return 0
        floor = max(at, 0, yard.gone_by(nodes))
        granted = 0
        while granted < nodes:
            weight = yard.weight(granted + step)
            since = self.room.since(floor, weight)
            while (since is None or since > floor) and self.give_way(number, None if since is None else floor):
                since = self.room.since(floor, weight)
            if since is None:
                self.hungry.add(number)
                return granted
            if since > at:
                break
            granted += step
        rest = nodes - granted - yard.coming
        if all_or_none and yard.coming:
            return granted  # asked again when those are there: a part of what a job needs is no use
        if granted < nodes and rest > 0:
            self.book(number, granted, rest, floor, all_or_none=all_or_none)
        return granted

    def book(self, number: int, granted: int, nodes: int, floor: int, *, all_or_none: bool) -> None:
        """Hold room for nodes that will be up later."""
        yard = self.yards[number]
        granted_weight = yard.weight(granted) if granted else None
        step = nodes if all_or_none else 1
        while nodes > 0:
            for size in dict.fromkeys((nodes, step)):
                weight = yard.weight(size)
                asked = weight if granted_weight is None else _sum(granted_weight, weight)
                since = self.room.since(floor, asked)
                if since is not None:
                    break
            else:
                self.hungry.add(number)
                return
            self.room.hold(since, weight)
            yard.coming += size
            heappush(self.events, (since + yard.data.up, DUE - len(self.bookings) - 1))
            self.bookings.append((number, since, weight, size))
            nodes -= size
            step = min(step, nodes)

    def give_way(self, number: int, by: int | None) -> bool:
        """Give up the longest idle node of another yard, if it can be gone by then; whether one was given up."""
        oldest = None
        for y, yard in enumerate(self.yards):
            found = yard.closable() if y != number else None
            if found is not None and (by is None or found[1] <= by) and (oldest is None or found[0] < oldest[0]):
                oldest = (found[0], y)
        if oldest is None:
            return False
        self.yards[oldest[1]].give_up()
        return True

    def stuck(self) -> UserError:
        waiting = sorted({self.instance.steps[q[0][1]].name for y in self.yards for q in y.queues.values() if q})
        groups = sorted({p.group for p in self.instance.pools if p.group is not None})
        return UserError(
            f"the limits leave no room for {', '.join(waiting[:5])} while the MiniClusters of the groups "
            f"{', '.join(groups)} stay up",
            where="limits",
            fix="raise the limits, or leave the groups out",
        )
