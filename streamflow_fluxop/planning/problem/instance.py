"""The problem as the algorithms read it: indices instead of names, whole milliseconds instead of seconds.

Whole numbers make every comparison of times exact, so a plan neither breaks a rule by a rounding error nor depends
on the order of a sum. Durations are rounded up, to one millisecond at least on a node: a node's lease is never empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from streamflow_fluxop.model.capacity import within
from streamflow_fluxop.planning.problem.feasibility import alike, check

if TYPE_CHECKING:
    from streamflow_fluxop.model import Flavour, Limits, Needs, Objective, Problem

TICKS = 1000
"""Ticks in a second."""


def ticks(seconds: float) -> int:
    """Seconds as whole ticks, rounded up."""
    return ceil(round(seconds * TICKS, 3))


@dataclass(frozen=True, slots=True)
class FlavourData:
    """A flavour; `price` is of a node for a tick, `weight` what a node takes of each limit."""

    name: str
    cores: int
    memory: int
    gpus: int
    price: float
    up: int
    down: int
    count: int | None
    weight: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """How one job sits on nodes of one flavour.

    Attributes:
        nodes: nodes that it occupies.
        cores: cores on each of them; likewise `gpus` and `memory`.
        per_node: how many such jobs one empty node holds, 1 where a job takes several nodes.
        shares: nodes that the job is worth by its cores, by its GPUs, and by its memory.
        share: the largest of these (its dominant share).
    """

    nodes: int
    cores: int
    gpus: int
    memory: int
    per_node: int
    shares: tuple[float, float, float]
    share: float


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs that are alike for placing: same sharing class, same needs, same flavours. `fits` has an entry a flavour."""

    sharing: int
    fits: tuple[Fit | None, ...]
    feasible_flavours: tuple[int, ...]

    def on(self, flavour: int) -> Fit:
        """The fit on a flavour that is known to fit."""
        fit = self.fits[flavour]
        assert fit is not None
        return fit


@dataclass(frozen=True, slots=True)
class SharingClass:
    """What can share a MiniCluster: same image, same binding, same group. A `group` gets one MiniCluster, once."""

    image: str | None
    binding: str
    group: str | None


class StepData(NamedTuple):
    """A step. `kind` is -1 for a controller step; `before` and `after` hold (step, each) pairs.

    `spread` is the standard deviation of a job's duration, in ticks.
    """

    name: str
    kind: int
    width: int
    ticks: int
    before: tuple[tuple[int, bool], ...]
    after: tuple[tuple[int, bool], ...]
    spread: float = 0.0


@dataclass(frozen=True)
class Instance:
    """A compiled problem.

    Attributes:
        steps: in the document's order, and after them the hubs.
        hubs: how many of the steps are hubs (`dependency_hubs`).
        order: a topological order of the steps.
        capacity: the limits, an entry for each entry of a flavour's `weight`; the last ones are the flavours' own
            counts.
        max_miniclusters: limit of MiniClusters at once.
        reach: for each flavour the nodes that may be up at once if nothing else is; None where nothing limits them.
    """

    steps: tuple[StepData, ...]
    order: tuple[int, ...]
    kinds: tuple[Kind, ...]
    sharing_classes: tuple[SharingClass, ...]
    flavours: tuple[FlavourData, ...]
    capacity: tuple[float, ...]
    max_miniclusters: int | None
    reach: tuple[int | None, ...]
    objective: Objective
    hubs: int = 0

    @cached_property
    def tails(self) -> tuple[int, ...]:
        """Upward ranks: ticks from a step's start to the end of the longest chain that begins with it."""
        tails = [0] * len(self.steps)
        for s in reversed(self.order):
            step = self.steps[s]
            longest = 0
            for t, _ in step.after:
                if tails[t] > longest:
                    longest = tails[t]
            tails[s] = step.ticks + longest
        return tuple(tails)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Steps on the longest chain before each step; controller steps do not count."""
        levels = [0] * len(self.steps)
        for s in self.order:
            levels[s] = max(
                (levels[t] + (self.steps[t].kind >= 0) for t, _ in self.steps[s].before),
                default=0,
            )
        return tuple(levels)

    @cached_property
    def ticks(self) -> tuple[int, ...]:
        """For each step how long a job takes."""
        return tuple([s.ticks for s in self.steps])

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """For each step how many jobs it has."""
        return tuple([s.width for s in self.steps])

    @cached_property
    def kind_of(self) -> tuple[int, ...]:
        """For each step the kind of its jobs, -1 for a controller step."""
        return tuple([s.kind for s in self.steps])

    @cached_property
    def predecessor_counts(self) -> tuple[int, ...]:
        """For each step how many steps all of its jobs wait for."""
        return tuple(sum(not each for _, each in s.before) for s in self.steps)

    @cached_property
    def predecessor_counts_each(self) -> tuple[int, ...]:
        """For each step how many steps it waits for job by job."""
        return tuple(sum(each for _, each in s.before) for s in self.steps)

    @cached_property
    def jobs(self) -> int:
        """Jobs of all steps that need a MiniCluster."""
        return sum(s.width for s in self.steps if s.kind >= 0)

    @cached_property
    def nodes_are_independent(self) -> bool:
        """Whether each job runs on one node, and each node comes and goes as it likes.

        So it is without jobs that span nodes, groups, and a limit of MiniClusters.
        """
        return (
            self.max_miniclusters is None
            and all(c.group is None for c in self.sharing_classes)
            and all(fit is None or fit.nodes == 1 for k in self.kinds for fit in k.fits)
        )

    @cached_property
    def cheapest(self) -> tuple[int, ...]:
        """For each kind the flavour on which a job's share of a node costs least; the earlier one where equal."""
        return tuple(
            min(k.feasible_flavours, key=lambda f, k=k: (k.on(f).share * self.flavours[f].price, k.on(f).share, f))  # type: ignore[misc]
            for k in self.kinds
        )

    @cached_property
    def reversed(self) -> Instance:
        """This problem with time running backwards: arrows turned round, bring-up and tear-down exchanged."""
        return replace(
            self,
            steps=tuple(s._replace(before=s.after, after=s.before) for s in self.steps),
            order=self.order[::-1],
            flavours=tuple(replace(f, up=f.down, down=f.up) for f in self.flavours),
        )


def fit(needs: Needs, flavour: Flavour) -> Fit | None:
    """How a job sits on a flavour, its tasks spread evenly over as few nodes as hold them; None if it does not."""
    nodes = needs.nodes_on(flavour)
    if nodes is None:
        return None
    share = ceil(needs.tasks / nodes)
    cores, gpus = share * needs.cores_per_task, share * needs.gpus_per_task
    memory = ceil(share * needs.memory / needs.tasks)
    if needs.exclusive:
        cores, gpus, memory = flavour.cores, flavour.gpus, flavour.memory
    per_node = min(
        flavour.cores // cores,
        flavour.gpus // gpus if gpus else flavour.cores,
        flavour.memory // memory if memory else flavour.cores,
    )
    shares = (
        needs.tasks * needs.cores_per_task / flavour.cores,
        needs.tasks * needs.gpus_per_task / flavour.gpus if needs.gpus_per_task else 0.0,
        needs.memory / flavour.memory,
    )
    if needs.exclusive:
        shares = (float(nodes), float(nodes), float(nodes))
    return Fit(nodes, cores, gpus, memory, per_node if nodes == 1 else 1, shares, max(shares))


def compile_problem(problem: Problem) -> Instance:
    """The instance of a problem.

    Raises:
        UserError: the problem has no plan; says which step, which need, and what would help.
    """
    order, dependencies = check(problem)
    flavours, capacity = _flavours(problem.flavours, problem.limits)
    reach = tuple(_reach(f, capacity) for f in flavours)
    index = {f.name: i for i, f in enumerate(flavours)}
    sharing_classes: dict[SharingClass, int] = {}
    kinds: dict[tuple[object, ...], int] = {}
    kind_data: list[Kind] = []
    after: list[list[tuple[int, bool]]] = [[] for _ in dependencies]
    for s, pairs in enumerate(dependencies):
        plain = (s, False)  # one pair for all that a step waits for
        for t, each in pairs:
            after[t].append((s, True) if each else plain)
    steps = []
    for step, before, then in zip(problem.workflow.steps, dependencies, after, strict=False):
        kind = -1
        if not step.controller:
            same = (step.image, step.binding, step.group, alike(step))
            found = kinds.get(same)
            if found is None:
                sharing = sharing_classes.setdefault(
                    SharingClass(step.image, step.binding, step.group), len(sharing_classes)
                )
                feasible_flavours = tuple(sorted(set(step.flavours), key=index.__getitem__)) or tuple(index)
                usual = (step.image, step.binding, step.group, (*step.needs.__dict__.values(), *feasible_flavours))
                found = kinds[same] = kinds.setdefault(usual, len(kind_data))
                if found == len(kind_data):
                    fits: list[Fit | None] = [None] * len(flavours)
                    for name in feasible_flavours:
                        sits = fit(step.needs, problem.flavours[name])
                        limit = reach[index[name]]
                        fits[index[name]] = sits if sits and (limit is None or sits.nodes <= limit) else None
                    kind_data.append(Kind(sharing, tuple(fits), tuple(f for f, x in enumerate(fits) if x)))
            kind = found
        length = max(ticks(step.duration.seconds), int(kind >= 0))
        spread = TICKS * step.duration.spread
        steps.append(StepData(step.name, kind, step.width, length, before, tuple(then), spread))
    hubs = range(len(steps), len(dependencies))
    steps += [StepData("", -1, 1, 0, dependencies[g], tuple(after[g])) for g in hubs]
    return Instance(
        steps=tuple(steps),
        order=tuple(order),
        kinds=_one_flavour_a_group(kind_data, list(sharing_classes)),
        sharing_classes=tuple(sharing_classes),
        flavours=flavours,
        capacity=capacity,
        max_miniclusters=problem.limits.miniclusters,
        reach=reach,
        objective=problem.objective,
        hubs=len(hubs),
    )


def _one_flavour_a_group(kinds: list[Kind], sharing_classes: list[SharingClass]) -> tuple[Kind, ...]:
    """Take from the kinds of a group the flavours on which not all of the group fits."""
    common: dict[int, set[int]] = {}
    for kind in kinds:
        if sharing_classes[kind.sharing].group is not None:
            common[kind.sharing] = common.get(kind.sharing, set(kind.feasible_flavours)) & set(kind.feasible_flavours)
    return tuple(
        k
        if k.sharing not in common
        else Kind(
            k.sharing,
            tuple(x if f in common[k.sharing] else None for f, x in enumerate(k.fits)),
            tuple(f for f in k.feasible_flavours if f in common[k.sharing]),
        )
        for k in kinds
    )


def _flavours(flavours: dict[str, Flavour], limits: Limits) -> tuple[tuple[FlavourData, ...], tuple[float, ...]]:
    columns: list[tuple[float, list[float]]] = [
        (most if limit.whole else most * (1 + 1e-9), [float(limit.amount(f)) for f in flavours.values()])
        for limit, most in within(limits)
    ]
    for i, f in enumerate(flavours.values()):
        if f.count is not None:
            columns.append((f.count, [float(i == j) for j in range(len(flavours))]))
    data = tuple(
        FlavourData(
            name=name,
            cores=f.cores,
            memory=f.memory,
            gpus=f.gpus,
            price=f.price / 3600 / TICKS,
            up=ticks(f.bring_up),
            down=ticks(f.tear_down),
            count=f.count,
            weight=tuple(column[i] for _, column in columns),
        )
        for i, (name, f) in enumerate(flavours.items())
    )
    return data, tuple(float(limit) for limit, _ in columns)


def _reach(flavour: FlavourData, capacity: tuple[float, ...]) -> int | None:
    return min((int(c / w) for c, w in zip(capacity, flavour.weight, strict=True) if w), default=None)
