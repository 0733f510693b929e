"""MiniClusters whose sizes and steps are given beforehand: what the simple strategies have in common.

A cluster is a MiniCluster, or several with the same size one after the other. It is asked for when its first job is
ready (or, `ahead`, so that it is up when its first job is ready), stays until its last job is over, and takes its jobs
in upward-rank order. Where the limits leave no room it waits; clusters that have nothing to do just then are given up
if nothing else helps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.resource_profile import ResourceProfile, times
from streamflow_fluxop.planning.problem.ready_jobs import ReadyJobs
from streamflow_fluxop.planning.result.schedule import NodeLease, Placement, Schedule, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planning.construct.resource_profile import Weight
    from streamflow_fluxop.planning.problem.instance import Instance

LAST = 1 << 60
PATIENCE = 8
"""Sites without room that are passed over for others that wait."""


@dataclass(slots=True)
class FixedCluster:
    """A MiniCluster of `size` nodes; `jobs` is how many it has yet to run."""

    sharing: int
    flavour: int
    size: int
    jobs: int
    keep: bool = False
    state: str = "down"
    held: bool = False
    first_lease: int = -1
    running: int = 0
    queues: dict[int, list[tuple[float, int, int, int]]] = field(default_factory=dict)
    free: list[list[int]] = field(default_factory=list)
    candidates: dict[int, list[int]] = field(default_factory=dict)
    listed: dict[int, set[int]] = field(default_factory=dict)


def run_fixed(
    instance: Instance,
    strategy: str,
    clusters: list[FixedCluster],
    cluster_of: Callable[[int, int], int],
    *,
    ahead: bool = False,
    barrier: bool = False,
) -> Schedule:
    """Make the schedule of given clusters.

    Args:
        instance: the problem.
        strategy: name for the schedule.
        clusters: what there is; `jobs` counts what each is to run.
        cluster_of: the cluster of a job, by step and index.
        ahead: bring up before the first job is ready.
        barrier: a job waits until all jobs on lower levels are over.

    Raises:
        UserError: the limits leave no room for the clusters that have to be up at the same time.
    """
    return _Run(instance, strategy, clusters, cluster_of, ahead=ahead, barrier=barrier).schedule()


class _Run:
    def __init__(
        self,
        instance: Instance,
        strategy: str,
        clusters: list[FixedCluster],
        cluster_of: Callable[[int, int], int],
        *,
        ahead: bool,
        barrier: bool,
    ) -> None:
        self.instance = instance
        self.strategy = strategy
        self.clusters = clusters
        self.cluster_of = cluster_of
        self.ahead = ahead
        self.barrier = barrier
        capacity: Weight = instance.capacity
        self.counted = instance.max_miniclusters is not None
        self.profile = ResourceProfile((*capacity, float(instance.max_miniclusters or 0)) if self.counted else capacity)
        self.leases: list[NodeLease] = []
        self.placements: list[Placement] = []
        self.where: list[int] = []
        self.events: list[tuple[int, int, int]] = []
        self.pending: list[tuple[float, int]] = []
        self.frontier = ReadyJobs(instance)
        self.level_left: dict[int, int] = {}
        for s, step in enumerate(instance.steps):
            self.level_left[instance.levels[s]] = self.level_left.get(instance.levels[s], 0) + step.width
        self.later: dict[int, list[tuple[int, int, int]]] = {}
        self.level = min(self.level_left)
        self.touched: set[int] = set()

    def schedule(self) -> Schedule:
        for ready in self.frontier.first():
            self.ready(*ready, 0)
        self.serve(0)
        while self.events:
            now = self.events[0][0]
            while self.events and self.events[0][0] == now:
                _, _, event = heappop(self.events)
                if event >= 0:
                    self.over(event, now)
                else:
                    self.up(-event - 1, now)
            self.serve(now)
            if not self.events and self.pending and self.give_way(now):
                self.serve(now)
        if any(self.frontier.left):
            raise UserError(
                f"the limits leave no room for the MiniClusters of strategy {self.strategy}",
                where="limits",
                fix="raise the limits, or take another strategy",
            )
        return make_schedule(self.instance, self.leases, self.placements, self.strategy)

    def ready(self, step: int, first: int, count: int, now: int) -> None:
        instance = self.instance
        if self.barrier and instance.levels[step] > self.level:
            self.later.setdefault(instance.levels[step], []).append((step, first, count))
            return
        kind = instance.steps[step].kind
        if kind < 0:
            self.start(-1, step, first, count, now, [])
            return
        end = first + count
        while first < end:
            number, begin = self.cluster_of(step, first), first
            while first < end and self.cluster_of(step, first) == number:
                first += 1
            cluster = self.clusters[number]
            if kind not in cluster.queues:
                cluster.queues[kind] = []
                cluster.candidates[kind] = list(range(cluster.size))
                cluster.listed[kind] = set(range(cluster.size))
            heappush(cluster.queues[kind], (-instance.tails[step], step, begin, first - begin))
            self.touched.add(number)
            if cluster.state == "down":
                cluster.state = "pending"
                heappush(self.pending, (-instance.tails[step], number))

    def start(self, cluster: int, step: int, first: int, count: int, now: int, runs: list[tuple[int, int]]) -> None:
        heappush(self.events, (now + self.instance.steps[step].ticks, len(self.placements), len(self.placements)))
        self.placements.append(Placement(step, first, count, now, runs))
        self.where.append(cluster)

    def over(self, number: int, now: int) -> None:
        s, first, count, _, runs = self.placements[number]
        step = self.instance.steps[s]
        if runs:
            cluster = self.clusters[self.where[number]]
            fit = self.instance.kinds[step.kind].on(cluster.flavour)
            for lease, n in runs:
                node = lease - cluster.first_lease
                free = cluster.free[node]
                free[0] += n * fit.cores
                free[1] += n * fit.gpus
                free[2] += n * fit.memory
                self.leases[lease].last = max(self.leases[lease].last, now)
                for kind, listed in cluster.listed.items():
                    if node not in listed:
                        listed.add(node)
                        heappush(cluster.candidates[kind], node)
            cluster.jobs -= count
            cluster.running -= count
            self.touched.add(self.where[number])
            if not cluster.jobs:
                self.close(cluster, now)
        for ready in self.frontier.over(s, first, count):
            self.ready(*ready, now)
        level = self.instance.levels[s]
        self.level_left[level] -= count
        while self.barrier and self.level_left.get(self.level) == 0:
            self.level += 1
            for t, begin, n in self.later.pop(self.level, []):
                self.ready(t, begin, n, now)

    def weight(self, cluster: FixedCluster) -> Weight:
        weight = times(cluster.size, self.instance.flavours[cluster.flavour].weight)
        return (*weight, 1.0) if self.counted else weight

    def close(self, cluster: FixedCluster, now: int) -> None:
        """The MiniCluster goes; all of its nodes lived until now."""
        for lease in range(cluster.first_lease, cluster.first_lease + cluster.size):
            self.leases[lease].last = now
        cluster.state = "down"
        self.profile.free(now + self.instance.flavours[cluster.flavour].down, self.weight(cluster))

    def give_way(self, now: int) -> bool:
        """Give up the MiniClusters that have nothing to do; whether there were any."""
        idle = [
            s for s in self.clusters if s.state == "up" and not s.running and not s.keep and not any(s.queues.values())
        ]
        for cluster in idle:
            last = max(self.leases[i].last for i in range(cluster.first_lease, cluster.first_lease + cluster.size))
            self.close(cluster, last)
        return bool(idle)

    def up(self, number: int, now: int) -> None:
        cluster, flavour = self.clusters[number], self.instance.flavours[self.clusters[number].flavour]
        cluster.state = "up"
        cluster.first_lease = len(self.leases)
        cluster.free = [[flavour.cores, flavour.gpus, flavour.memory] for _ in range(cluster.size)]
        for kind in cluster.queues:
            cluster.candidates[kind] = list(range(cluster.size))
            cluster.listed[kind] = set(range(cluster.size))
        for rank in range(cluster.size):
            self.leases.append(NodeLease(cluster.sharing, cluster.flavour, now, now, cluster.first_lease, rank))
        self.touched.add(number)

    def serve(self, now: int) -> None:
        refused: list[tuple[float, int]] = []
        while self.pending and len(refused) < PATIENCE:
            rank, number = heappop(self.pending)
            cluster = self.clusters[number]
            flavour = self.instance.flavours[cluster.flavour]
            at = self.profile.since(max(0, now - flavour.up) if self.ahead else now, self.weight(cluster))
            if at is None:
                refused.append((rank, number))
                continue
            cluster.state = "asked"
            self.profile.hold(at, self.weight(cluster))
            if at + flavour.up <= now:
                self.up(number, now)
            else:
                heappush(self.events, (at + flavour.up, LAST, -number - 1))
        for entry in refused:
            heappush(self.pending, entry)
        for number in sorted(self.touched):
            if self.clusters[number].state == "up":
                self.place(number, now)
        self.touched = set()

    def place(self, number: int, now: int) -> None:
        cluster = self.clusters[number]
        blocked: set[int] = set()
        while True:
            heads = [(q[0], kind) for kind, q in cluster.queues.items() if q and kind not in blocked]
            if not heads:
                return
            (rank, step, first, count), kind = min(heads)
            runs: list[tuple[int, int]] = []
            left = self.fill(cluster, kind, count, runs)
            if left < count:
                cluster.running += count - left
                self.start(number, step, first, count - left, now, runs)
            if not left:
                heappop(cluster.queues[kind])
                continue
            blocked.add(kind)
            if left < count:
                heapreplace(cluster.queues[kind], (rank, step, first + count - left, left))

    def fill(self, cluster: FixedCluster, kind: int, want: int, runs: list[tuple[int, int]]) -> int:
        fit = self.instance.kinds[kind].on(cluster.flavour)
        candidates, listed = cluster.candidates[kind], cluster.listed[kind]
        if fit.nodes > 1:
            while want:
                nodes = [n for n, free in enumerate(cluster.free) if _holds(free, fit.cores, fit.gpus, fit.memory)]
                if len(nodes) < fit.nodes:
                    break
                for node in nodes[: fit.nodes]:
                    _take(cluster.free[node], 1, fit.cores, fit.gpus, fit.memory)
                    runs.append((cluster.first_lease + node, 1))
                want -= 1
            return want
        while want and candidates:
            node = candidates[0]
            n = _holds(cluster.free[node], fit.cores, fit.gpus, fit.memory)
            if n > want:
                n = want
            else:
                heappop(candidates)
                listed.discard(node)
            if n:
                _take(cluster.free[node], n, fit.cores, fit.gpus, fit.memory)
                runs.append((cluster.first_lease + node, n))
                want -= n
        return want


def _holds(free: list[int], cores: int, gpus: int, memory: int) -> int:
    n = free[0] // cores
    if gpus:
        n = min(n, free[1] // gpus)
    if memory:
        n = min(n, free[2] // memory)
    return n


def _take(free: list[int], n: int, cores: int, gpus: int, memory: int) -> None:
    free[0] -= n * cores
    free[1] -= n * gpus
    free[2] -= n * memory
