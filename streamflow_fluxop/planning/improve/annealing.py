"""Simulated annealing over what a list schedule leaves open.

A state is a `Choices`: how many nodes each step class may open, its flavour, its urgency, and two habits of the whole
schedule. A state is judged by making its schedule (Kirkpatrick, Gelatt, Vecchi 1983; the indirect representation is
that of Storer, Wu, Vaccari 1992: problem-space search). Resizing a step class is a new cap, moving it to other nodes a
new flavour, splitting and merging MiniClusters follow from the leases that the nodes get.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, inf, sqrt
from random import Random
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.construct.list_scheduling import Choices, list_schedule
from streamflow_fluxop.planning.construct.packing import nodes_for
from streamflow_fluxop.planning.problem.step_classes import StepClass, step_classes_of
from streamflow_fluxop.planning.result.schedule import Schedule, mirrored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamflow_fluxop.planning.budget import Budget
    from streamflow_fluxop.planning.objective import Judge, Value
    from streamflow_fluxop.planning.problem.instance import Instance


SHORT = 20
"""Schedules a step class below which a walk is short."""


MIXED = 3
"""Sharing classes up to which all mixtures of cheap and roomy flavours are tried."""


@dataclass(frozen=True, slots=True)
class State:
    """Choices, and whether time runs backwards."""

    choices: Choices
    backwards: bool = False


class Annealing:
    """Makes and judges schedules from states.

    Args:
        instance: the problem.
        judge: says what is better.
        budget: asked before each schedule; ends the search.
    """

    def __init__(self, instance: Instance, judge: Judge, budget: Budget) -> None:
        self.instance = instance
        self.judge = judge
        self.budget = budget
        self.class_of_step, self.step_classes = step_classes_of(instance)
        self.feasible_flavours = _feasible_flavours(instance, self.step_classes)
        self.best: Schedule | None = None
        self.latest: Schedule | None = None
        self.current: Schedule | None = None
        self.best_value: Value = (inf, inf, inf)
        self._most: dict[tuple[int, int], int] = {}

    def decode(self, state: State) -> Schedule:
        """The schedule of a state."""
        if state.backwards:
            schedule = list_schedule(self.instance.reversed, self.class_of_step, state.choices)
            return mirrored(schedule, self.instance)
        return list_schedule(self.instance, self.class_of_step, state.choices)

    def try_state(self, state: State) -> Value:
        """Judge a state, and keep its schedule if it is the best one yet."""
        self.budget.spend()
        schedule = self.decode(state)
        value = self.judge.value(schedule.cost, schedule.makespan)
        if value < self.best_value:
            self.best, self.best_value = schedule, value
        self.latest = schedule
        return value

    def improve_on(self, schedule: Schedule) -> None:
        """Take a schedule from elsewhere if it is better than the best one yet."""
        value = self.judge.value(schedule.cost, schedule.makespan)
        if value < self.best_value:
            self.best, self.best_value = schedule, value

    @property
    def best_makespan(self) -> int:
        """Makespan of the best schedule, in ticks."""
        return self.best.makespan if self.best else self.judge.bounds.makespan

    def peak(self, step_class: StepClass, flavour: int) -> int:
        """Nodes that hold all jobs of a step class side by side."""
        return self._allowed(flavour, {step_class.kind: step_class.jobs})

    def _allowed(self, flavour: int, jobs: dict[int, int]) -> int:
        """Nodes that hold so many jobs of each kind side by side, as far as the limits allow."""
        nodes = nodes_for(self.instance, flavour, jobs)
        reach = self.instance.reach[flavour]
        return nodes if reach is None else min(nodes, reach)

    def most(self, step_class: StepClass, flavour: int) -> int:
        """Nodes that may be busy at most when a step class needs one more: those of all jobs of its sharing class."""
        sharing = self.instance.kinds[step_class.kind].sharing
        found = self._most.get((sharing, flavour))
        if found is None:
            jobs: dict[int, int] = {}
            for other in self.step_classes:
                kind = self.instance.kinds[other.kind]
                if kind.sharing == sharing and kind.fits[flavour] is not None:
                    jobs[other.kind] = jobs.get(other.kind, 0) + other.jobs
            found = self._most[sharing, flavour] = self._allowed(flavour, jobs)
        return found

    def crowded(self, step_class: StepClass, flavour: int) -> bool:
        """Whether the jobs of a step class take more than half of what the limits allow, side by side on a flavour."""
        reach = self.instance.reach[flavour]
        return reach is not None and 2 * nodes_for(self.instance, flavour, {step_class.kind: step_class.jobs}) > reach

    def thrifty(self, step_class: StepClass, flavour: int) -> float:
        """The number of nodes at which one more saves as much time as it costs money.

        With W the work in node-ticks, n nodes take W / n ticks and cost W + n (up + down) node-ticks, so the balanced
        objective is least at n = sqrt(W * (weight of time) / ((up + down) * (weight of money))).
        """
        data = self.instance.flavours[flavour]
        w = self.instance.objective.cost_weight
        money = w * (data.up + data.down) * data.price / (self.judge.bounds.cost or 1.0)
        time = (1 - w) / (self.judge.bounds.makespan or 1)
        work = step_class.work / self.instance.kinds[step_class.kind].on(flavour).per_node
        return sqrt(work * time / money) if money else inf

    def start(self, factor: float, flavours: tuple[int, ...]) -> Choices:
        """Choices with `factor` times the thrifty numbers of nodes."""
        caps = []
        for step_class, f in zip(self.step_classes, flavours, strict=True):
            nodes = factor * self.thrifty(step_class, f)
            caps.append(max(1, int(min(self.peak(step_class, f), nodes)) if nodes < inf else self.most(step_class, f)))
        none = (0.0,) * len(self.step_classes)
        return Choices(
            caps=tuple(caps),
            flavours=flavours,
            bias=none,
            late=none,
            may_use_other_flavours=(True,) * len(self.step_classes),
        )

    def roomiest(self) -> tuple[int, ...]:
        """For each step class the flavour on which its jobs take least of the limit of which they take most.

        A group's step classes have all the same flavour: the one on which the step class that takes most takes least.
        """
        instance = self.instance

        def taken(kind: int, flavour: int) -> float:
            share = instance.kinds[kind].on(flavour).share
            weight = instance.flavours[flavour].weight
            return max((share * w / c for w, c in zip(weight, instance.capacity, strict=True) if c), default=0.0)

        together: dict[int, set[int]] = {}
        for step_class in self.step_classes:
            sharing = instance.kinds[step_class.kind].sharing
            if instance.sharing_classes[sharing].group is not None:
                together.setdefault(sharing, set()).add(step_class.kind)
        result = []
        for step_class, feasible_flavours in zip(self.step_classes, self.feasible_flavours, strict=True):
            kinds = together.get(instance.kinds[step_class.kind].sharing, {step_class.kind})
            most = {f: max(taken(k, f) for k in kinds) for f in feasible_flavours}
            result.append(min(feasible_flavours, key=lambda f, m=most, w=feasible_flavours: (m[f], w.index(f))))  # type: ignore[misc]
        return tuple(result)

    def shared_out(self, power: float, flavours: tuple[int, ...]) -> Choices | None:
        """Caps with which no limit ever binds: each sharing class and flavour has its part, by its work to some power.

        None where there are no limits, or where not even one node each fits within them.
        """
        choices = self.start(inf, flavours)
        work: dict[tuple[int, int], float] = {}
        pools = []
        for step_class, f in zip(self.step_classes, choices.flavours, strict=True):
            kind = self.instance.kinds[step_class.kind]
            pools.append((kind.sharing, f))
            work[kind.sharing, f] = work.get((kind.sharing, f), 0.0) + step_class.work * kind.on(f).share
        parts = {y: w**power for y, w in work.items()}
        least = {
            y: max(
                self.instance.kinds[s.kind].on(y[1]).nodes
                for s, z in zip(self.step_classes, pools, strict=True)
                if z == y
            )
            for y in work
        }

        def nodes(factor: float) -> dict[tuple[int, int], int]:
            return {y: max(least[y], int(factor * part)) for y, part in parts.items()}

        def fit(factor: float) -> bool:
            held = nodes(factor)
            return all(
                sum(n * self.instance.flavours[f].weight[r] for (_, f), n in held.items()) <= capacity + 1e-9
                for r, capacity in enumerate(self.instance.capacity)
            )

        if not self.instance.capacity or not fit(0.0) or not any(parts.values()):
            return None
        low, high = 0.0, 1e7 / max(parts.values())
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if fit(middle) else (low, middle)
        held = nodes(low)
        caps = tuple(min(cap, held[y]) for cap, y in zip(choices.caps, pools, strict=True))
        return replace(choices, caps=caps)

    def starts(self) -> Iterator[State]:
        """States to begin with, the promising ones first."""
        first, *others = self.mixtures()
        for factor in (1.0, inf, 0.5, 2.0, 0.25, 4.0, 0.0):
            for backwards in (False, True):
                yield State(self.start(factor, first), backwards)
            if factor == 1.0:
                for power in (1.0, 0.5):
                    shared = self.shared_out(power, first)
                    if shared is not None:
                        yield State(shared)
                        yield State(shared, backwards=True)
                for flavours in others:
                    yield State(self.start(1.0, flavours))
                    shared = self.shared_out(0.5, flavours)
                    if shared is not None:
                        yield State(shared)

    def mixtures(self) -> list[tuple[int, ...]]:
        """Flavours of the step classes, the promising ones first.

        The roomiest for step classes that are too wide for the limits on the cheapest, which is for the others; the
        cheapest for all; the roomiest for all; and mixed by sharing classes.
        """
        cheap, roomy = tuple(feasible_flavours[0] for feasible_flavours in self.feasible_flavours), self.roomiest()
        sharing_classes = [self.instance.kinds[step_class.kind].sharing for step_class in self.step_classes]
        wide = tuple(
            b if self.instance.sharing_classes[p].group is None and self.crowded(step_class, a) else a
            for step_class, p, a, b in zip(self.step_classes, sharing_classes, cheap, roomy, strict=True)
        )
        differ = sorted({p for p, a, b in zip(sharing_classes, cheap, roomy, strict=True) if a != b})
        sets = [set(c) for n in range(len(differ) + 1) for c in combinations(differ, n)] if len(differ) <= MIXED else []
        mixed = [tuple(b if p in s else a for p, a, b in zip(sharing_classes, cheap, roomy, strict=True)) for s in sets]
        return list(dict.fromkeys([wide, cheap, roomy, *mixed]))

    def anneal(
        self, state: State, value: Value, rng: Random, steps: int, *, hot: float, cold: float
    ) -> tuple[Value, State]:
        """Walk from a state, less and less willing to get worse; the best state on the way."""
        best = (value, state)
        self.current = None
        moves, coarse = self.moves(), self.coarse_moves()
        short = steps < SHORT * len(self.step_classes)
        for i in range(steps):
            if self.budget.over():
                break
            heat = hot * (cold / hot) ** (i / steps)
            new = rng.choice(coarse if short and rng.random() < 0.3 * (1 - i / steps) else moves)(state, rng)
            if new is None or new == state:
                continue
            new_value = self.try_state(new)
            worse = (new_value[0] - value[0]) * 10 + (new_value[1] - value[1]) + 1e-3 * (new_value[2] - value[2])
            if worse <= 0 or rng.random() < exp(-worse / heat):
                state, value, self.current = new, new_value, self.latest
                best = min(best, (value, state), key=lambda b: b[0])
        return best

    def coarse_moves(self) -> list[Callable[[State, Random], State | None]]:
        """Moves that change much at once: for walks too short to look at step classes one by one."""
        moves: list[Callable[[State, Random], State | None]] = [self.resize_all] * 4
        moves += [self.habits, self.reverse_time, self.move_horizon, self.justify]
        if any(len(w) > 1 for w in self.feasible_flavours):
            moves += [self.change_flavour_of_class] * 3
        return moves

    def moves(self) -> list[Callable[[State, Random], State | None]]:
        """The kinds of move, as often as they are to be tried."""
        moves: list[Callable[[State, Random], State | None]] = []
        moves += [self.resize] * 5 + [self.shift_priority] * 2
        moves += [self.resize_all, self.habits, self.reverse_time] + [self.move_horizon] * 2 + [self.shift_opening] * 2
        moves += [self.justify] * 2 + [self.shift_step_priority] * (3 if len(self.instance.steps) <= 300 else 1)
        if any(len(w) > 1 for w in self.feasible_flavours):
            moves += [self.change_flavour] * 2 + [self.toggle_spill]
        return moves

    def resize(self, state: State, rng: Random) -> State | None:
        """Let one step class have more or fewer nodes."""
        i = rng.randrange(len(self.step_classes))
        caps = list(state.choices.caps)
        most = self.most(self.step_classes[i], state.choices.flavours[i])
        caps[i] = _nudged(min(caps[i], most), most, rng)
        return replace(state, choices=replace(state.choices, caps=tuple(caps)))

    def resize_all(self, state: State, rng: Random) -> State | None:
        """Let all step classes of a sharing class have more or fewer nodes."""
        kinds = self.instance.kinds
        sharing = kinds[rng.choice(self.step_classes).kind].sharing
        factor = rng.choice((0.5, 0.7, 0.85, 1.2, 1.4, 2.0))
        caps = [
            max(1, min(self.most(step_class, f), round(cap * factor)))
            if kinds[step_class.kind].sharing == sharing
            else cap
            for step_class, f, cap in zip(self.step_classes, state.choices.flavours, state.choices.caps, strict=True)
        ]
        return replace(state, choices=replace(state.choices, caps=tuple(caps)))

    def shift_priority(self, state: State, rng: Random) -> State | None:
        """Make one step class more or less urgent."""
        i = rng.randrange(len(self.step_classes))
        bias = list(state.choices.bias)
        bias[i] = 0.0 if bias[i] and rng.random() < 0.3 else rng.gauss(0, 0.2) * self.judge.bounds.makespan
        return replace(state, choices=replace(state.choices, bias=tuple(bias)))

    def habits(self, state: State, rng: Random) -> State | None:
        """Change how eagerly idle nodes are used again, or who goes first where a limit binds."""
        if rng.random() < 0.5:
            return replace(state, choices=replace(state.choices, ease=rng.choice((0.0, 0.25, 0.5, 1.0, 2.0, 4.0))))
        patience = rng.choice((0.0, 0.02, 0.1, 0.3, 1.0)) * self.judge.bounds.makespan
        return replace(state, choices=replace(state.choices, patience=patience))

    def move_horizon(self, state: State, rng: Random) -> State | None:
        """Let jobs wait for free places that can, for another end of the whole."""
        if rng.random() < 0.2:
            horizon = 0.0
        elif state.choices.horizon and rng.random() < 0.6:
            horizon = state.choices.horizon * rng.uniform(0.9, 1.1)
        else:
            horizon = self.best_makespan * rng.uniform(0.6, 1.05)
        return replace(state, choices=replace(state.choices, horizon=horizon))

    def shift_opening(self, state: State, rng: Random) -> State | None:
        """Let one step class open nodes later or sooner."""
        i = rng.randrange(len(self.step_classes))
        late = list(state.choices.late)
        late[i] = 0.0 if late[i] and rng.random() < 0.4 else rng.gauss(0, 0.15) * self.best_makespan
        return replace(state, choices=replace(state.choices, late=tuple(late)))

    def toggle_spill(self, state: State, rng: Random) -> State | None:
        """Let one step class use other flavours' free places, or not."""
        i = rng.randrange(len(self.step_classes))
        may_use_other_flavours = list(state.choices.may_use_other_flavours)
        may_use_other_flavours[i] = not may_use_other_flavours[i]
        return replace(state, choices=replace(state.choices, may_use_other_flavours=tuple(may_use_other_flavours)))

    def justify(self, state: State, rng: Random) -> State | None:
        """Turn time round and let the jobs come in the order of the current schedule.

        Done twice, this is double justification (Valls, Ballestin, Quintanilla 2005), here with the nodes decided anew.
        """
        if self.current is None:
            self.current = self.decode(state)
        ranks = [0.0] * len(self.instance.steps)
        makespan = self.current.makespan
        for placement in self.current.placements:
            end = placement.start + self.instance.steps[placement.step].ticks
            rank = float(makespan - placement.start if state.backwards else end)
            ranks[placement.step] = max(ranks[placement.step], rank)
        choices = replace(state.choices, ranks=tuple(ranks))
        return State(choices, not state.backwards)

    def shift_step_priority(self, state: State, rng: Random) -> State | None:
        """Make one step more or less urgent, or give all steps their upward ranks again."""
        if state.choices.ranks is not None and rng.random() < 0.1:
            return replace(state, choices=replace(state.choices, ranks=None))
        instance = self.instance.reversed if state.backwards else self.instance
        ranks = list(state.choices.ranks or instance.tails)
        ranks[rng.randrange(len(ranks) - instance.hubs)] += rng.gauss(0, 0.15) * self.judge.bounds.makespan
        return replace(state, choices=replace(state.choices, ranks=tuple(ranks)))

    def reverse_time(self, state: State, rng: Random) -> State | None:
        """Let time run the other way."""
        return replace(state, backwards=not state.backwards)

    def change_flavour(self, state: State, rng: Random) -> State | None:
        """Move one step class, or all step classes of its kind, to another flavour."""
        return self._with_other_flavour(state, rng, rng.choice(("one", "kind", "pool")))

    def change_flavour_of_class(self, state: State, rng: Random) -> State | None:
        """Move a whole sharing class to another flavour."""
        return self._with_other_flavour(state, rng, "pool")

    def _with_other_flavour(self, state: State, rng: Random, how: str) -> State | None:
        i = rng.randrange(len(self.step_classes))
        if len(self.feasible_flavours[i]) < 2:
            return None
        old = state.choices.flavours[i]
        new = rng.choice([f for f in self.feasible_flavours[i] if f != old])
        kinds = self.instance.kinds
        kind, sharing = self.step_classes[i].kind, kinds[self.step_classes[i].kind].sharing
        if self.instance.sharing_classes[sharing].group is not None:
            how = "pool"
        moved = [
            new in self.feasible_flavours[j]
            and (j == i or (how == "kind" and s.kind == kind) or (how == "pool" and kinds[s.kind].sharing == sharing))
            for j, s in enumerate(self.step_classes)
        ]
        flavours = tuple(new if m else f for m, f in zip(moved, state.choices.flavours, strict=True))
        return replace(state, choices=replace(state.choices, flavours=flavours))


def _nudged(cap: int, most: int, rng: Random) -> int:
    """A cap a bit larger or smaller, between 1 and most."""
    factor = rng.choice((0.5, 0.7, 0.85, 1.2, 1.5, 2.0))
    new = cap + rng.choice((-1, 1)) if rng.random() < 0.4 else round(cap * factor)
    return max(1, min(most, new))


def _feasible_flavours(instance: Instance, step_classes: tuple[StepClass, ...]) -> list[tuple[int, ...]]:
    """For each step class the flavours that it may run on, the cheapest (in a group: for all of it) first."""
    result = []
    shared: dict[int, dict[int, float]] = {}
    for step_class in step_classes:
        kind = instance.kinds[step_class.kind]
        if instance.sharing_classes[kind.sharing].group is not None:
            costs = shared.setdefault(kind.sharing, dict.fromkeys(kind.feasible_flavours, 0.0))
            for f in costs:
                costs[f] += (step_class.work + 1) * kind.on(f).share * instance.flavours[f].price
    for step_class in step_classes:
        kind = instance.kinds[step_class.kind]
        if kind.sharing in shared:
            result.append(tuple(sorted(kind.feasible_flavours, key=lambda f, c=shared[kind.sharing]: (c[f], f))))  # type: ignore[misc]
        else:
            first = instance.cheapest[step_class.kind]
            result.append((first, *(f for f in kind.feasible_flavours if f != first)))
    return result
