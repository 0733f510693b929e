"""MiniClusters whose sizes and steps are given beforehand: what the simple strategies have in common.

A site is a MiniCluster, or several with the same size one after the other. It is asked for when its first job is ready
(or, `ahead`, so that it is up when its first job is ready), stays until its last job is over, and takes its jobs in
upward-rank order. Where the limits leave no room it waits; sites that have nothing to do just then are given up if
nothing else helps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.resource_profile import Room, times
from streamflow_fluxop.planning.result.schedule import Block, Life, Schedule, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.planning.construct.resource_profile import Weight
    from streamflow_fluxop.planning.problem.instance import Instance

LAST = 1 << 60
PATIENCE = 8
"""Sites without room that are passed over for others that wait."""


@dataclass(slots=True)
class Site:
    """A MiniCluster of `size` nodes; `jobs` is how many it has yet to run."""

    pool: int
    flavour: int
    size: int
    jobs: int
    keep: bool = False
    state: str = "down"
    held: bool = False
    first_life: int = -1
    running: int = 0
    queues: dict[int, list[tuple[float, int, int, int]]] = field(default_factory=dict)
    free: list[list[int]] = field(default_factory=list)
    candidates: dict[int, list[int]] = field(default_factory=dict)
    listed: dict[int, set[int]] = field(default_factory=dict)


def run_fixed(
    instance: Instance,
    strategy: str,
    sites: list[Site],
    site_of: Callable[[int, int], int],
    *,
    ahead: bool = False,
    barrier: bool = False,
) -> Schedule:
    """Make the schedule of given sites.

    Args:
        instance: the problem.
        strategy: name for the schedule.
        sites: what there is; `jobs` counts what each is to run.
        site_of: the site of a job, by step and index.
        ahead: bring up before the first job is ready.
        barrier: a job waits until all jobs on lower levels are over.

    Raises:
        UserError: the limits leave no room for the sites that have to be up at the same time.
    """
    return _Run(instance, strategy, sites, site_of, ahead=ahead, barrier=barrier).schedule()


class _Run:
    def __init__(
        self,
        instance: Instance,
        strategy: str,
        sites: list[Site],
        site_of: Callable[[int, int], int],
        *,
        ahead: bool,
        barrier: bool,
    ) -> None:
        self.instance = instance
        self.strategy = strategy
        self.sites = sites
        self.site_of = site_of
        self.ahead = ahead
        self.barrier = barrier
        capacity: Weight = instance.capacity
        self.counted = instance.max_miniclusters is not None
        self.room = Room((*capacity, float(instance.max_miniclusters or 0)) if self.counted else capacity)
        self.lives: list[Life] = []
        self.blocks: list[Block] = []
        self.where: list[int] = []
        self.events: list[tuple[int, int, int]] = []
        self.pending: list[tuple[float, int]] = []
        self.left = [s.width for s in instance.steps]
        self.waits = [sum(not each for _, each in s.before) for s in instance.steps]
        self.waits_each = [[sum(each for _, each in s.before)] * s.width for s in instance.steps]
        self.level_left: dict[int, int] = {}
        for s, step in enumerate(instance.steps):
            self.level_left[instance.levels[s]] = self.level_left.get(instance.levels[s], 0) + step.width
        self.later: dict[int, list[tuple[int, int, int]]] = {}
        self.level = min(self.level_left)
        self.touched: set[int] = set()

    def schedule(self) -> Schedule:
        for s, step in enumerate(self.instance.steps):
            if not self.waits[s]:
                self.ready_of(s, 0, step.width, 0)
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
        if any(self.left):
            raise UserError(
                f"the limits leave no room for the MiniClusters of strategy {self.strategy}",
                where="limits",
                fix="raise the limits, or take another strategy",
            )
        return make_schedule(self.instance, self.lives, self.blocks, self.strategy)

    def ready_of(self, step: int, first: int, end: int, now: int) -> None:
        waits = self.waits_each[step]
        job = first
        while job < end:
            begin = job
            while job < end and waits[job] == 0:
                waits[job] = -1
                job += 1
            if job > begin:
                self.ready(step, begin, job - begin, now)
            else:
                job += 1

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
            number, begin = self.site_of(step, first), first
            while first < end and self.site_of(step, first) == number:
                first += 1
            site = self.sites[number]
            if kind not in site.queues:
                site.queues[kind] = []
                site.candidates[kind] = list(range(site.size))
                site.listed[kind] = set(range(site.size))
            heappush(site.queues[kind], (-instance.tails[step], step, begin, first - begin))
            self.touched.add(number)
            if site.state == "down":
                site.state = "pending"
                heappush(self.pending, (-instance.tails[step], number))

    def start(self, site: int, step: int, first: int, count: int, now: int, runs: list[tuple[int, int]]) -> None:
        heappush(self.events, (now + self.instance.steps[step].ticks, len(self.blocks), len(self.blocks)))
        self.blocks.append(Block(step, first, count, now, runs))
        self.where.append(site)

    def over(self, number: int, now: int) -> None:
        s, first, count, _, runs = self.blocks[number]
        step = self.instance.steps[s]
        if runs:
            site = self.sites[self.where[number]]
            fit = self.instance.kinds[step.kind].on(site.flavour)
            for life, n in runs:
                node = life - site.first_life
                free = site.free[node]
                free[0] += n * fit.cores
                free[1] += n * fit.gpus
                free[2] += n * fit.memory
                self.lives[life].last = max(self.lives[life].last, now)
                for kind, listed in site.listed.items():
                    if node not in listed:
                        listed.add(node)
                        heappush(site.candidates[kind], node)
            site.jobs -= count
            site.running -= count
            self.touched.add(self.where[number])
            if not site.jobs:
                self.close(site, now)
        self.left[s] -= count
        for t, each in step.after:
            if each:
                for job in range(first, first + count):
                    self.waits_each[t][job] -= 1
                if not self.waits[t]:
                    self.ready_of(t, first, first + count, now)
            elif not self.left[s]:
                self.waits[t] -= 1
                if not self.waits[t]:
                    self.ready_of(t, 0, self.instance.steps[t].width, now)
        level = self.instance.levels[s]
        self.level_left[level] -= count
        while self.barrier and self.level_left.get(self.level) == 0:
            self.level += 1
            for t, begin, n in self.later.pop(self.level, []):
                self.ready(t, begin, n, now)

    def weight(self, site: Site) -> Weight:
        weight = times(site.size, self.instance.flavours[site.flavour].weight)
        return (*weight, 1.0) if self.counted else weight

    def close(self, site: Site, now: int) -> None:
        """The site's MiniCluster goes; all of its nodes lived until now."""
        for life in range(site.first_life, site.first_life + site.size):
            self.lives[life].last = now
        site.state = "down"
        self.room.free(now + self.instance.flavours[site.flavour].down, self.weight(site))

    def give_way(self, now: int) -> bool:
        """Give up the MiniClusters that have nothing to do; whether there were any."""
        idle = [
            s for s in self.sites if s.state == "up" and not s.running and not s.keep and not any(s.queues.values())
        ]
        for site in idle:
            last = max(self.lives[i].last for i in range(site.first_life, site.first_life + site.size))
            self.close(site, last)
        return bool(idle)

    def up(self, number: int, now: int) -> None:
        site, flavour = self.sites[number], self.instance.flavours[self.sites[number].flavour]
        site.state = "up"
        site.first_life = len(self.lives)
        site.free = [[flavour.cores, flavour.gpus, flavour.memory] for _ in range(site.size)]
        for kind in site.queues:
            site.candidates[kind] = list(range(site.size))
            site.listed[kind] = set(range(site.size))
        for rank in range(site.size):
            self.lives.append(Life(site.pool, site.flavour, now, now, site.first_life, rank))
        self.touched.add(number)

    def serve(self, now: int) -> None:
        refused: list[tuple[float, int]] = []
        while self.pending and len(refused) < PATIENCE:
            rank, number = heappop(self.pending)
            site = self.sites[number]
            flavour = self.instance.flavours[site.flavour]
            at = self.room.since(max(0, now - flavour.up) if self.ahead else now, self.weight(site))
            if at is None:
                refused.append((rank, number))
                continue
            site.state = "asked"
            self.room.hold(at, self.weight(site))
            if at + flavour.up <= now:
                self.up(number, now)
            else:
                heappush(self.events, (at + flavour.up, LAST, -number - 1))
        for entry in refused:
            heappush(self.pending, entry)
        for number in sorted(self.touched):
            if self.sites[number].state == "up":
                self.place(number, now)
        self.touched = set()

    def place(self, number: int, now: int) -> None:
        site = self.sites[number]
        blocked: set[int] = set()
        while True:
            heads = [(q[0], kind) for kind, q in site.queues.items() if q and kind not in blocked]
            if not heads:
                return
            (rank, step, first, count), kind = min(heads)
            runs: list[tuple[int, int]] = []
            left = self.fill(site, kind, count, runs)
            if left < count:
                site.running += count - left
                self.start(number, step, first, count - left, now, runs)
            if not left:
                heappop(site.queues[kind])
                continue
            blocked.add(kind)
            if left < count:
                heapreplace(site.queues[kind], (rank, step, first + count - left, left))

    def fill(self, site: Site, kind: int, want: int, runs: list[tuple[int, int]]) -> int:
        fit = self.instance.kinds[kind].on(site.flavour)
        candidates, listed = site.candidates[kind], site.listed[kind]
        if fit.nodes > 1:
            while want:
                nodes = [n for n, free in enumerate(site.free) if _holds(free, fit.cores, fit.gpus, fit.memory)]
                if len(nodes) < fit.nodes:
                    break
                for node in nodes[: fit.nodes]:
                    _take(site.free[node], 1, fit.cores, fit.gpus, fit.memory)
                    runs.append((site.first_life + node, 1))
                want -= 1
            return want
        while want and candidates:
            node = candidates[0]
            n = _holds(site.free[node], fit.cores, fit.gpus, fit.memory)
            if n > want:
                n = want
            else:
                heappop(candidates)
                listed.discard(node)
            if n:
                _take(site.free[node], n, fit.cores, fit.gpus, fit.memory)
                runs.append((site.first_life + node, n))
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
