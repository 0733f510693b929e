"""The nodes that one sharing class has of one flavour, while a list schedule is made.

A node is busy; or idle and still held in case it is needed again; or up for nobody. Whether an idle node was kept
or given up is decided in hindsight, when it is needed again: a gap longer than bring-up plus tear-down costs more
than a new lease of the node (ski rental with the season known; price and size cancel out).

`FreeNodePool` lets every node live and die on its own, `NestedNodePool` has nodes go up and down like a stack, as those
of a single MiniCluster do.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.construct.resource_profile import times
from streamflow_fluxop.planning.result.schedule import NodeLease

if TYPE_CHECKING:
    from streamflow_fluxop.planning.construct.resource_profile import ResourceProfile, Weight
    from streamflow_fluxop.planning.problem.instance import FlavourData, Instance

FEW = 40
"""Busy nodes up to which the best one is looked for."""

Runs = list[tuple[int, int]]
Entry = tuple[float, int, int, int]


class NodePool:
    """What both kinds of node pool have.

    Attributes:
        queues: for each kind that has jobs waiting a heap of (-priority, step, first job, jobs).
        idle: (since, node) of the idle nodes that are still held, the longest idle first.
        busy: nodes that are in use.
        coming: nodes that are booked for later because the limits leave no room now.
        jobs: jobs that are not over.
    """

    def __init__(
        self, instance: Instance, sharing: int, flavour: int, leases: list[NodeLease], profile: ResourceProfile
    ) -> None:
        self.sharing = sharing
        self.flavour = flavour
        self.data: FlavourData = instance.flavours[flavour]
        self.fits = {
            k: fit for k, kind in enumerate(instance.kinds) if kind.sharing == sharing and (fit := kind.fits[flavour])
        }
        self.queues: dict[int, list[Entry]] = {}
        self.idle: deque[tuple[int, int]] = deque()
        self.busy = 0
        self.coming = 0
        self.jobs = 0
        self.leases = leases
        self.profile = profile
        self.break_even = self.data.up + self.data.down
        self._cores: list[int] = []
        self._gpus: list[int] = []
        self._memory: list[int] = []
        self._load: list[int] = []
        self._life: list[int] = []
        self._node_of: dict[int, int] = {}

    def add(self, kind: int, entry: Entry) -> bool:
        """Queue jobs; whether they are the first of their kind now."""
        queue = self.queues.get(kind)
        if queue is None:
            self.queues[kind] = [entry]
            return True
        heappush(queue, entry)
        return queue[0] is entry

    def nodes_of(self, runs: Runs) -> list[int]:
        """The nodes that jobs run on."""
        return [self._node_of[lease] for lease, _ in runs]

    def head(self) -> float:
        """Minus the priority of the first job in the queues; infinity where there is none."""
        first = float("inf")
        for queue in self.queues.values():
            if queue[0][0] < first:
                first = queue[0][0]
        return first

    def recently_idle(self, now: int, longest: float, most: int) -> int:
        """How many nodes, `most` at most, have been idle for `longest` at most."""
        n = 0
        for since, _ in reversed(self.idle):
            if n == most or now - since > longest:
                break
            n += 1
        return n

    def weight(self, nodes: int) -> Weight:
        """What so many more nodes take of the limits."""
        return times(nodes, self.data.weight)

    def closable(self) -> tuple[int, int] | None:
        """Since when its longest idle node could have been given up, and from when that frees its room."""
        return (self.idle[0][0], self.idle[0][0] + self.data.down) if self.idle else None

    def gone_by(self, nodes: int) -> int:
        """When the places of so many new nodes are free: at once, where any MiniCluster may have them."""
        return 0

    def _new_node(self) -> int:
        self._cores.append(self.data.cores)
        self._gpus.append(self.data.gpus)
        self._memory.append(self.data.memory)
        self._load.append(0)
        self._life.append(-1)
        return len(self._load) - 1

    def _begin(self, node: int, now: int, stack: int = -1, rank: int = 0) -> None:
        self._life[node] = len(self.leases)
        self._node_of[len(self.leases)] = node
        self.leases.append(NodeLease(self.sharing, self.flavour, now, now, stack, rank))

    def _take(self, node: int, n: int, kind: int) -> None:
        fit = self.fits[kind]
        self._cores[node] -= n * fit.cores
        self._gpus[node] -= n * fit.gpus
        self._memory[node] -= n * fit.memory
        self._load[node] += n

    def holds(self, node: int, kind: int) -> int:
        """How many jobs of a kind fit into what a node has left."""
        fit = self.fits[kind]
        n = self._cores[node] // fit.cores
        if fit.gpus:
            n = min(n, self._gpus[node] // fit.gpus)
        if fit.memory:
            n = min(n, self._memory[node] // fit.memory)
        return n


class FreeNodePool(NodePool):
    """Nodes that live and die on their own; no job spans two of them."""

    def __init__(
        self, instance: Instance, sharing: int, flavour: int, leases: list[NodeLease], profile: ResourceProfile
    ) -> None:
        super().__init__(instance, sharing, flavour, leases, profile)
        self._spare: list[int] = []
        self._working: dict[int, None] = {}
        self._until: list[int] = []
        self._candidates: dict[int, list[int]] = {}
        self._listed: dict[int, set[int]] = {}

    def fill(self, kind: int, want: int, end: int, runs: Runs) -> int:
        """Put up to `want` jobs that end at `end` on busy nodes; how many did not find a place.

        Where there are few nodes, those come first that need not stay up longer for it.
        """
        if len(self._working) > FEW:
            return self._fill_listed(kind, want, end, runs)
        fit, until = self.fits[kind], self._until
        cores, gpus, memory = fit.cores, fit.gpus, fit.memory
        has_cores, has_gpus, has_memory = self._cores, self._gpus, self._memory
        while want:
            best, least = -1, 1 << 62
            for node in self._working:
                if has_cores[node] >= cores:
                    longer = end - until[node]
                    if longer < 0:
                        longer = 0
                    if longer < least and has_memory[node] >= memory and has_gpus[node] >= gpus:
                        best, least = node, longer
                        if not longer:
                            break
            if best < 0:
                break
            n = 1 if want == 1 else min(want, self.holds(best, kind))
            want -= n
            has_cores[best] -= n * cores
            has_gpus[best] -= n * gpus
            has_memory[best] -= n * memory
            self._load[best] += n
            if end > until[best]:
                until[best] = end
            runs.append((self._life[best], n))
        return want

    def _fill_listed(self, kind: int, want: int, end: int, runs: Runs) -> int:
        """Put jobs on the nodes that may have room, the first ones first."""
        if kind not in self._candidates:
            self._candidates[kind] = sorted(self._working)
            self._listed[kind] = set(self._working)
        candidates, listed = self._candidates[kind], self._listed[kind]
        while want and candidates:
            node = candidates[0]
            n = self.holds(node, kind) if self._load[node] else 0
            if n > want:
                n = want
            else:
                heappop(candidates)
                listed.discard(node)
            if n:
                want -= n
                self._put(node, n, kind, end, runs)
        return want

    def _put(self, node: int, n: int, kind: int, end: int, runs: Runs) -> None:
        self._take(node, n, kind)
        if end > self._until[node]:
            self._until[node] = end
        runs.append((self._life[node], n))

    def extra(self, kind: int, want: int) -> int:
        """How many more nodes so many jobs need."""
        return -(-want // self.fits[kind].per_node)

    def grow(self, kind: int, want: int, idle: int, new: int, now: int, end: int, runs: Runs) -> int:
        """Put jobs on so many idle and new nodes; how many did not find a place."""
        for _ in range(idle):
            since, node = self.idle.pop()
            if now - since > self.break_even:
                self.profile.free(since + self.data.down, self.data.weight)
                self.profile.hold(now - self.data.up, self.data.weight)
                self._begin(node, now)
            want = self._use(node, kind, want, end, runs)
        if new:
            self.profile.hold(now - self.data.up, self.weight(new))
        for _ in range(new):
            node = self._spare.pop() if self._spare else self._new_node()
            if node == len(self._until):
                self._until.append(0)
            self._begin(node, now)
            want = self._use(node, kind, want, end, runs)
        return want

    def give_up(self) -> None:
        """Give up the node that has been idle for longest, as of when it turned idle."""
        since, node = self.idle.popleft()
        self._spare.append(node)
        self.profile.free(since + self.data.down, self.data.weight)

    def over(self, kind: int, runs: Runs, now: int) -> bool:
        """Jobs are over; whether a node turned idle."""
        turned = False
        fit = self.fits[kind]
        for lease, n in runs:
            node = self._node_of[lease]
            self._cores[node] += n * fit.cores
            self._gpus[node] += n * fit.gpus
            self._memory[node] += n * fit.memory
            self._load[node] = load = self._load[node] - n
            if not load:
                self.leases[lease].last = now
                self.idle.append((now, node))
                del self._working[node]
                self.busy -= 1
                turned = True
            elif self._listed:
                self._offer(node)
        return turned

    def _use(self, node: int, kind: int, want: int, end: int, runs: Runs) -> int:
        n = min(want, self.fits[kind].per_node)
        self.busy += 1
        self._working[node] = None
        self._until[node] = end
        self._put(node, n, kind, end, runs)
        self._offer(node)
        return want - n

    def _offer(self, node: int) -> None:
        for kind, listed in self._listed.items():
            if node not in listed:
                listed.add(node)
                heappush(self._candidates[kind], node)


class NestedNodePool(NodePool):
    """The nodes of one MiniCluster at a time: node i is up whenever node i + 1 is. Jobs may span nodes.

    `busy` counts the nodes up to the highest one in use; those below may be empty, and take jobs first.

    Args:
        keep: the MiniCluster lives once, from its first job to its last one (a group).
        counted: what a MiniCluster takes of the limits beside its nodes.
    """

    def __init__(
        self,
        instance: Instance,
        sharing: int,
        flavour: int,
        leases: list[NodeLease],
        profile: ResourceProfile,
        *,
        keep: bool,
        counted: bool,
    ) -> None:
        super().__init__(instance, sharing, flavour, leases, profile)
        self._keep = keep
        self._counted = counted

    def fill(self, kind: int, want: int, end: int, runs: Runs) -> int:
        """Put up to `want` jobs on the nodes that are up, the lowest first; how many did not find a place."""
        span = self.fits[kind].nodes
        if span == 1:
            for node in range(self.busy):
                n = min(want, self.holds(node, kind))
                if n:
                    self._take(node, n, kind)
                    runs.append((self._life[node], n))
                    want -= n
                    if not want:
                        break
            return want
        while want:
            nodes = [n for n in range(self.busy) if self.holds(n, kind)][:span]
            if len(nodes) < span:
                break
            for node in nodes:
                self._take(node, 1, kind)
                runs.append((self._life[node], 1))
            want -= 1
        return want

    def extra(self, kind: int, want: int) -> int:
        """How many more nodes so many jobs need; for jobs that span nodes, how many the next job needs."""
        fit = self.fits[kind]
        if fit.nodes == 1:
            return -(-want // fit.per_node)
        return fit.nodes - sum(self.holds(n, kind) > 0 for n in range(self.busy))

    def grow(self, kind: int, want: int, idle: int, new: int, now: int, end: int, runs: Runs) -> int:
        """Put jobs on so many idle and new nodes more; how many did not find a place."""
        for _ in range(idle):
            since, node = self.idle.pop()
            if now - since > self.break_even and not (self._keep and node == 0):
                self.profile.free(since + self.data.down, self._weight_of(node))
                self.profile.hold(now - self.data.up, self._weight_of(node))
                self._start(node, now)
            self.busy += 1
        if new:
            self.profile.hold(now - self.data.up, self.weight(new))
        for _ in range(new):
            if self.busy == len(self._load):
                self._new_node()
            self._start(self.busy, now)
            self.busy += 1
        return self.fill(kind, want, end, runs)

    def weight(self, nodes: int) -> Weight:
        """What so many more nodes take of the limits."""
        weight = times(nodes, self.data.weight)
        return (*weight, float(not self.busy and not self.idle)) if self._counted else weight

    def gone_by(self, nodes: int) -> int:
        """When the nodes that were given up, in whose places so many new ones come, are gone."""
        first = self.busy + len(self.idle)
        leases = [self.leases[lease] for lease in self._life[first : first + nodes] if lease >= 0]
        return max((lease.last + self.data.down for lease in leases), default=0)

    def closable(self) -> tuple[int, int] | None:
        """Since when its longest idle node could have been given up, and from when that frees its room."""
        if self._keep and self.jobs and self.idle and self.idle[0][1] == 0:
            return None
        return super().closable()

    def give_up(self) -> None:
        """Give up the node that has been idle for longest, as of when it turned idle."""
        since, node = self.idle.popleft()
        self.profile.free(since + self.data.down, self._weight_of(node))

    def over(self, kind: int, runs: Runs, now: int) -> bool:
        """Jobs are over; whether a node turned idle."""
        for lease, n in runs:
            self._take(self._node_of[lease], -n, kind)
        before = self.busy
        while self.busy and not self._load[self.busy - 1]:
            self.busy -= 1
            self.leases[self._life[self.busy]].last = now
            self.idle.append((now, self.busy))
        return self.busy < before

    def _start(self, node: int, now: int) -> None:
        stack = len(self.leases) if node == 0 else self.leases[self._life[0]].stack
        self._begin(node, now, stack, node)

    def _weight_of(self, node: int) -> Weight:
        return (*self.data.weight, float(node == 0)) if self._counted else self.data.weight
