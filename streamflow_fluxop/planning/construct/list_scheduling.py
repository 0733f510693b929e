"""List scheduling in upward-rank order on nodes that come just in time and go when they are not needed soon.

The schedule is made in order of time. At each moment the jobs that are ready take, by priority (upward rank, as HEFT:
Topcuoglu, Hariri, Wu 2002), first the free places of busy nodes, then nodes that turned idle a moment ago, then, as
long as the choices and the limits allow, new nodes. Because durations are estimates known beforehand, a new node that
is needed at time t has been asked for at t minus its bring-up: nothing waits for a bring-up, except at the very
beginning and where a limit left no room then. Where a limit binds, idle nodes of other sharing classes give way, the
longest idle first, and jobs of lower priority start nothing new before the one that waits has got its node.

The work is O((jobs + nodes) log) for a bounded number of kinds of job: jobs of a scatter that start together are placed
at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from heapq import heapify, heappop, heappush, heapreplace
from math import ceil
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.node_pool import FreeNodePool, NestedNodePool
from streamflow_fluxop.planning.construct.resource_profile import ResourceProfile
from streamflow_fluxop.planning.problem.ready_jobs import ReadyJobs
from streamflow_fluxop.planning.result.schedule import NodeLease, Placement, Schedule, make_schedule

if TYPE_CHECKING:
    from streamflow_fluxop.planning.construct.resource_profile import Weight
    from streamflow_fluxop.planning.problem.instance import Instance


class EventKind(IntEnum):
    """What happens; at one time in this order."""

    OVER = 0
    """Jobs end: the number of their placement."""
    BOOKED = 1
    """Nodes that were booked are up: minus the number of the booking, so that the last one comes first."""
    LOOK = 2
    """A node pool is looked at again: its number."""


Event = tuple[int, EventKind, int]
"""The time, the kind, and the number that the kind says."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a list schedule leaves open, for a search to decide.

    Attributes:
        caps: for each step class, how many nodes of its sharing class and flavour may be busy for its jobs to open one
            more.
        flavours: for each step class the flavour that it runs on.
        bias: for each step class, ticks added to its upward rank.
        late: for each step class, ticks by which a new node for its jobs may come later (or sooner, if negative) than
            `horizon` says.
        may_use_other_flavours: for each step class, whether its jobs may use free places on busy nodes of other
            flavours.
        ranks: for each step its priority, where that is not to be upward rank plus bias.
        horizon: jobs that can wait for a free place and still be over, with all that follows them, by this time
            open no node.
        ease: how long a node may have been idle, as a share of the break-even time, to be used again in spite of
            the cap.
        patience: by how many ticks jobs of another sharing class may outrank a job that waits for room and still let it
            go first.
    """

    caps: tuple[int, ...]
    flavours: tuple[int, ...]
    bias: tuple[float, ...]
    late: tuple[float, ...]
    may_use_other_flavours: tuple[bool, ...]
    ranks: tuple[float, ...] | None = None
    horizon: float = 0.0
    ease: float = 1.0
    patience: float = 0.0


def list_schedule(instance: Instance, step_classes: tuple[int, ...], choices: Choices) -> Schedule:
    """Make a schedule.

    Args:
        instance: the problem.
        step_classes: for each step the step class that it belongs to, -1 for controller steps.
        choices: an entry a step class.

    Raises:
        UserError: a group's MiniCluster stays up and leaves no room for what the group waits for.
    """
    return _Run(instance, step_classes, choices).schedule()


def _sum(a: Weight, b: Weight) -> Weight:
    return tuple(x + y for x, y in zip(a, b, strict=True))


class _Run:
    def __init__(self, instance: Instance, step_classes: tuple[int, ...], choices: Choices) -> None:
        self.instance = instance
        self.ticks = instance.ticks
        self.kind_of = instance.kind_of
        self.step_classes = step_classes
        self.choices = choices
        self.leases: list[NodeLease] = []
        self.placements: list[Placement] = []
        counted = instance.max_miniclusters is not None
        capacity = instance.capacity
        self.profile = ResourceProfile((*capacity, float(instance.max_miniclusters or 0)) if counted else capacity)
        self.limited = bool(capacity) or counted
        self.pools: list[FreeNodePool | NestedNodePool] = []
        index = self._add_pools()
        self.spill_pools = [self._spill(number, sharing, index) for (sharing, _), number in index.items()]
        self.near = [
            [y, *(o for (p, _), o in index.items() if p == sharing and o != y)] for (sharing, _), y in index.items()
        ]
        self.stalled: list[set[int]] = [set() for _ in self.pools]
        self.where: list[int] = []
        self.alarms: set[tuple[int, int]] = set()
        self.events: list[Event] = []
        self.bookings: list[tuple[int, int, Weight, int]] = []
        self.frontier = ReadyJobs(instance)
        self.patience = choices.patience
        self.dirty: set[int] = set()
        self.starved_for_capacity: set[int] = set()
        self.rank = self._ranks()

    def _add_pools(self) -> dict[tuple[int, int], int]:
        """Make a node pool for each sharing class and flavour, and find each step's; the numbers of the pools."""
        instance, flavours = self.instance, self.choices.flavours
        pool_of = [-1] * (len(flavours) + 1)  # a controller step's step class is -1
        index: dict[tuple[int, int], int] = {}
        for step_class, kind in dict(zip(self.step_classes, instance.kind_of, strict=True)).items():
            if step_class >= 0:
                key = (instance.kinds[kind].sharing, flavours[step_class])
                if key not in index:
                    index[key] = len(self.pools)
                    self.pools.append(self._pool(*key))
                pool_of[step_class] = index[key]
        self.pool_of = [pool_of[step_class] for step_class in self.step_classes]
        if any(p.group is not None for p in instance.sharing_classes):
            for number, width in zip(self.pool_of, instance.widths, strict=True):
                if number >= 0:
                    self.pools[number].jobs += width
        return index

    def _pool(self, sharing: int, flavour: int) -> FreeNodePool | NestedNodePool:
        """Nodes that come and go as they like, where that makes no difference to jobs, group and limits."""
        instance = self.instance
        keep = instance.sharing_classes[sharing].group is not None
        counted = instance.max_miniclusters is not None
        fits = (k.fits[flavour] for k in instance.kinds if k.sharing == sharing)
        if keep or counted or any(fit is not None and fit.nodes > 1 for fit in fits):
            return NestedNodePool(instance, sharing, flavour, self.leases, self.profile, keep=keep, counted=counted)
        return FreeNodePool(instance, sharing, flavour, self.leases, self.profile)

    def _spill(self, number: int, sharing: int, index: dict[tuple[int, int], int]) -> dict[int, list[int]]:
        """For each kind of job of a node pool the pools of other flavours that it may use, too."""
        if not isinstance(self.pools[number], FreeNodePool):
            return {}
        others = [
            o for (p, _), o in index.items() if p == sharing and o != number and isinstance(self.pools[o], FreeNodePool)
        ]
        return {kind: [o for o in others if kind in self.pools[o].fits] for kind in self.pools[number].fits}

    def _ranks(self) -> list[float]:
        """Minus the priority of each step."""
        choices = self.choices
        if choices.ranks is not None:
            return [-r for r in choices.ranks]
        classes = zip(self.instance.tails, self.step_classes, strict=True)
        return [-(t + choices.bias[g]) if g >= 0 else -float(t) for t, g in classes]

    def schedule(self) -> Schedule:
        for ready in self.frontier.first():
            self.ready(*ready, 0)
        self.serve(0)
        events = self.events
        while events:
            now = events[0][0]
            while events and events[0][0] == now:
                _, kind, number = heappop(events)
                if kind is EventKind.OVER:
                    self.over(number, now)
                elif kind is EventKind.BOOKED:
                    self.due(-number)
                else:
                    self.wake(number)
            if self.dirty:
                self.serve(now)
            if not events and any(self.frontier.left):
                self.patience = float("inf")
                for pool in range(len(self.pools)):
                    self.wake(pool)
                self.serve(now)
        if any(self.frontier.left):
            raise self.stuck()
        return make_schedule(self.instance, self.leases, self.placements, "list")

    def ready(self, step: int, first: int, count: int, now: int) -> None:
        """Jobs can start: queue them, or start them if they are the controller's."""
        number = self.pool_of[step]
        if number < 0:
            self.start(step, first, count, now, [], -1)
            return
        kind, stalled = self.kind_of[step], self.stalled[number]
        if self.pools[number].add(kind, (self.rank[step], step, first, count)):
            stalled.discard(kind)
            self.dirty.add(number)
        elif kind not in stalled:
            self.dirty.add(number)

    def wake(self, pool: int) -> None:
        """Try all kinds of a node pool again."""
        self.stalled[pool].clear()
        self.dirty.add(pool)

    def unstall(self, number: int, pool: FreeNodePool | NestedNodePool, nodes: list[int]) -> bool:
        """Try those kinds again of which a job would fit on one of the nodes; whether there are any."""
        stalled = self.stalled[number]
        found = []
        for kind in stalled:
            if kind in pool.fits:
                for node in nodes:
                    if pool.holds(node, kind):
                        found.append(kind)
                        break
        stalled.difference_update(found)
        return bool(found)

    def start(self, step: int, first: int, count: int, now: int, runs: list[tuple[int, int]], pool: int) -> None:
        self.where.append(pool)
        heappush(self.events, (now + self.ticks[step], EventKind.OVER, len(self.placements)))
        self.placements.append(Placement(step, first, count, now, runs))

    def over(self, number: int, now: int) -> None:
        """Jobs are over: free their nodes, and find out which jobs can start."""
        s, first, count, _, runs = self.placements[number]
        if runs:
            pool = self.where[number]
            here = self.pools[pool]
            if here.over(self.kind_of[s], runs, now):
                self.wake(pool)
                for other in self.starved_for_capacity:
                    self.wake(other)
            nodes = None
            for other in self.near[pool]:
                if self.stalled[other]:
                    nodes = nodes or here.nodes_of(runs)
                    if self.unstall(other, here, nodes):
                        self.dirty.add(other)
            self.pools[self.pool_of[s]].jobs -= count
        for ready in self.frontier.over(s, first, count):
            self.ready(*ready, now)

    def due(self, booking: int) -> None:
        """Nodes that were booked are up: their room is the node pool's, if it still wants them."""
        pool, at, weight, nodes = self.bookings[booking]
        self.profile.free(at, weight)
        self.pools[pool].coming -= nodes
        self.stalled[pool].clear()
        self.serve_pool(pool, at + self.pools[pool].data.up)
        for other in self.starved_for_capacity:
            self.wake(other)

    def serve(self, now: int) -> None:
        """Start what can start, the node pools in order of their most urgent jobs."""
        while self.dirty:
            todo = list(self.dirty)
            if len(todo) > 1:
                todo.sort(key=lambda y: (self.pools[y].head(), y))
            self.dirty = set()
            for pool in todo:
                if self.starved_for_capacity:
                    head = self.pools[pool].head() - self.patience
                    if any(self.pools[y].head() < head for y in self.starved_for_capacity if y != pool):
                        self.starved_for_capacity.add(pool)
                        continue
                self.serve_pool(pool, now)

    def serve_pool(self, number: int, now: int) -> None:
        pool = self.pools[number]
        self.starved_for_capacity.discard(number)
        blocked = self.stalled[number]
        queues = pool.queues
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
        want = self.pools[number].fill(kind, count, end, runs)
        if want:
            want = self.open(number, kind, step, want, now, end, runs)
        if want < count:
            self.where.append(number)
            heappush(self.events, (end, EventKind.OVER, len(self.placements)))
            self.placements.append(Placement(step, first, count - want, now, runs))
        if want and self.choices.may_use_other_flavours[self.step_classes[step]]:
            for other in self.spill_pools[number].get(kind, ()):
                runs = []
                left = self.pools[other].fill(kind, want, end, runs)
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
        pool, choices, step_class = self.pools[number], self.choices, self.step_classes[step]
        fit = pool.fits[kind]
        latest = choices.horizon + choices.late[step_class] - self.instance.tails[step]
        cap = max(choices.caps[step_class], fit.nodes)
        while want:
            extra = pool.extra(kind, want)
            nodes = pool.recently_idle(now, choices.ease * pool.break_even, extra)
            if now >= latest:
                nodes = max(nodes, min(extra, cap - pool.busy))
            elif nodes < extra:
                self.alarm(number, latest)
            if nodes <= 0 or (fit.nodes > 1 and nodes < extra):
                break
            idle = min(nodes, len(pool.idle))
            new = nodes - idle
            if new:
                new = self.grant(number, new, now, all_or_none=fit.nodes > 1)
            if idle + new == 0 or (fit.nodes > 1 and idle + new < extra):
                break
            want = pool.grow(kind, want, idle, new, now, end, runs)
            if idle + new < nodes:
                break
        return want

    def alarm(self, number: int, at: float) -> None:
        """Look at a node pool again when a job there can't wait any longer."""
        if (number, ceil(at)) not in self.alarms:
            self.alarms.add((number, ceil(at)))
            heappush(self.events, (ceil(at), EventKind.LOOK, number))

    def grant(self, number: int, nodes: int, now: int, *, all_or_none: bool) -> int:
        """How many of so many new nodes can be up now; the others are booked as soon as there will be room for them."""
        pool = self.pools[number]
        at = now - pool.data.up
        if at >= 0 and not self.limited:
            return nodes
        step = nodes if all_or_none else 1
        if self.profile.full(pool.weight(step)) and not any(y.idle for y in self.pools):
            self.starved_for_capacity.add(number)
            return 0
        floor = max(at, 0, pool.gone_by(nodes))
        granted = 0
        while granted < nodes:
            weight = pool.weight(granted + step)
            since = self.profile.since(floor, weight)
            while (since is None or since > floor) and self.give_way(number, None if since is None else floor):
                since = self.profile.since(floor, weight)
            if since is None:
                self.starved_for_capacity.add(number)
                return granted
            if since > at:
                break
            granted += step
        rest = nodes - granted - pool.coming
        if all_or_none and pool.coming:
            return granted  # asked again when those are there: a part of what a job needs is no use
        if granted < nodes and rest > 0:
            self.book(number, granted, rest, floor, all_or_none=all_or_none)
        return granted

    def book(self, number: int, granted: int, nodes: int, floor: int, *, all_or_none: bool) -> None:
        """Hold room for nodes that will be up later."""
        pool = self.pools[number]
        granted_weight = pool.weight(granted) if granted else None
        step = nodes if all_or_none else 1
        while nodes > 0:
            for size in dict.fromkeys((nodes, step)):
                weight = pool.weight(size)
                asked = weight if granted_weight is None else _sum(granted_weight, weight)
                since = self.profile.since(floor, asked)
                if since is not None:
                    break
            else:
                self.starved_for_capacity.add(number)
                return
            self.profile.hold(since, weight)
            pool.coming += size
            heappush(self.events, (since + pool.data.up, EventKind.BOOKED, -len(self.bookings)))
            self.bookings.append((number, since, weight, size))
            nodes -= size
            step = min(step, nodes)

    def give_way(self, number: int, by: int | None) -> bool:
        """Give up the longest idle node of another node pool, if it can be gone by then; whether one was given up."""
        oldest = None
        for y, pool in enumerate(self.pools):
            found = pool.closable() if y != number else None
            if found is not None and (by is None or found[1] <= by) and (oldest is None or found[0] < oldest[0]):
                oldest = (found[0], y)
        if oldest is None:
            return False
        self.pools[oldest[1]].give_up()
        return True

    def stuck(self) -> UserError:
        waiting = sorted({self.instance.steps[q[0][1]].name for y in self.pools for q in y.queues.values() if q})
        groups = sorted({p.group for p in self.instance.sharing_classes if p.group is not None})
        return UserError(
            f"the limits leave no room for {', '.join(waiting[:5])} while the MiniClusters of the groups "
            f"{', '.join(groups)} stay up",
            where="limits",
            fix="raise the limits, or leave the groups out",
        )
