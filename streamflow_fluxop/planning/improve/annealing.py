"""Simulated annealing over what a list schedule leaves open.

A state is a `Choices`: how many nodes each stage may open, its flavour, its urgency, and two habits of the whole
schedule. A state is judged by making its schedule (Kirkpatrick, Gelatt, Vecchi 1983; the indirect representation is
that of Storer, Wu, Vaccari 1992: problem-space search). Resizing a stage is a new cap, moving it to other nodes a
new flavour, splitting and merging MiniClusters follow from the lives that the nodes get.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import exp, inf, sqrt
from random import Random
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.construct.list_scheduling import Choices, list_schedule
from streamflow_fluxop.planning.construct.packing import nodes_for
from streamflow_fluxop.planning.problem.step_classes import Stage, stages_of
from streamflow_fluxop.planning.result.schedule import Schedule, mirrored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamflow_fluxop.planning.budget import Budget
    from streamflow_fluxop.planning.objective import Judge, Value
    from streamflow_fluxop.planning.problem.instance import Instance


SHORT = 20
"""Schedules a stage below which a walk is short."""


MIXED = 3
"""Pools up to which all mixtures of cheap and roomy flavours are tried."""


@dataclass(frozen=True, slots=True)
class State:
    """Choices, and whether time runs backwards."""

    choices: Choices
    backwards: bool = False


class Search:
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
        self.stage_of, self.stages = stages_of(instance)
        self.wishes = _wishes(instance, self.stages)
        self.best: Schedule | None = None
        self.latest: Schedule | None = None
        self.current: Schedule | None = None
        self.best_value: Value = (inf, inf, inf)
        self._most: dict[tuple[int, int], int] = {}

    def decode(self, state: State) -> Schedule:
        """The schedule of a state."""
        if state.backwards:
            schedule = list_schedule(self.instance.reversed, self.stage_of, state.choices)
            return mirrored(schedule, self.instance)
        return list_schedule(self.instance, self.stage_of, state.choices)

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

    def peak(self, stage: Stage, flavour: int) -> int:
        """Nodes that hold all jobs of a stage side by side."""
        return self._allowed(flavour, {stage.kind: stage.jobs})

    def _allowed(self, flavour: int, jobs: dict[int, int]) -> int:
        """Nodes that hold so many jobs of each kind side by side, as far as the limits allow."""
        nodes = nodes_for(self.instance, flavour, jobs)
        reach = self.instance.reach[flavour]
        return nodes if reach is None else min(nodes, reach)

    def most(self, stage: Stage, flavour: int) -> int:
        """Nodes that may be busy at most when a stage's jobs need one more: those of all jobs of its pool, too."""
        pool = self.instance.kinds[stage.kind].pool
        found = self._most.get((pool, flavour))
        if found is None:
            jobs: dict[int, int] = {}
            for other in self.stages:
                kind = self.instance.kinds[other.kind]
                if kind.pool == pool and kind.fits[flavour] is not None:
                    jobs[other.kind] = jobs.get(other.kind, 0) + other.jobs
            found = self._most[pool, flavour] = self._allowed(flavour, jobs)
        return found

    def crowded(self, stage: Stage, flavour: int) -> bool:
        """Whether the jobs of a stage take more than half of what the limits allow, side by side on a flavour."""
        reach = self.instance.reach[flavour]
        return reach is not None and 2 * nodes_for(self.instance, flavour, {stage.kind: stage.jobs}) > reach

    def thrifty(self, stage: Stage, flavour: int) -> float:
        """The number of nodes at which one more saves as much time as it costs money.

        With W the work in node-ticks, n nodes take W / n ticks and cost W + n (up + down) node-ticks, so the balanced
        objective is least at n = sqrt(W * (weight of time) / ((up + down) * (weight of money))).
        """
        data = self.instance.flavours[flavour]
        w = self.instance.objective.cost_weight
        money = w * (data.up + data.down) * data.price / (self.judge.bounds.cost or 1.0)
        time = (1 - w) / (self.judge.bounds.makespan or 1)
        work = stage.work / self.instance.kinds[stage.kind].on(flavour).per_node
        return sqrt(work * time / money) if money else inf

    def start(self, factor: float, flavours: tuple[int, ...]) -> Choices:
        """Choices with `factor` times the thrifty numbers of nodes."""
        caps = []
        for stage, f in zip(self.stages, flavours, strict=True):
            nodes = factor * self.thrifty(stage, f)
            caps.append(max(1, int(min(self.peak(stage, f), nodes)) if nodes < inf else self.most(stage, f)))
        none = (0.0,) * len(self.stages)
        return Choices(caps=tuple(caps), flavours=flavours, bias=none, late=none, roam=(True,) * len(self.stages))

    def roomiest(self) -> tuple[int, ...]:
        """For each stage the flavour on which its jobs take least of the limit of which they take most.

        A group's stages have all the same flavour: the one on which the stage that takes most takes least.
        """
        instance = self.instance

        def taken(kind: int, flavour: int) -> float:
            share = instance.kinds[kind].on(flavour).share
            weight = instance.flavours[flavour].weight
            return max((share * w / c for w, c in zip(weight, instance.capacity, strict=True) if c), default=0.0)

        together: dict[int, set[int]] = {}
        for stage in self.stages:
            pool = instance.kinds[stage.kind].pool
            if instance.pools[pool].group is not None:
                together.setdefault(pool, set()).add(stage.kind)
        result = []
        for stage, wishes in zip(self.stages, self.wishes, strict=True):
            kinds = together.get(instance.kinds[stage.kind].pool, {stage.kind})
            most = {f: max(taken(k, f) for k in kinds) for f in wishes}
            result.append(min(wishes, key=lambda f, m=most, w=wishes: (m[f], w.index(f))))  # type: ignore[misc]
        return tuple(result)

    def shared_out(self, power: float, flavours: tuple[int, ...]) -> Choices | None:
        """Caps with which no limit ever binds: each pool and flavour has its part, by its work to some power.

        None where there are no limits, or where not even one node each fits within them.
        """
        choices = self.start(inf, flavours)
        work: dict[tuple[int, int], float] = {}
        yards = []
        for stage, f in zip(self.stages, choices.flavours, strict=True):
            kind = self.instance.kinds[stage.kind]
            yards.append((kind.pool, f))
            work[kind.pool, f] = work.get((kind.pool, f), 0.0) + stage.work * kind.on(f).share
        parts = {y: w**power for y, w in work.items()}
        least = {
            y: max(
                self.instance.kinds[s.kind].on(y[1]).nodes for s, z in zip(self.stages, yards, strict=True) if z == y
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
        caps = tuple(min(cap, held[y]) for cap, y in zip(choices.caps, yards, strict=True))
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
        """Flavours of the stages, the promising ones first.

        The roomiest for stages that are too wide for the limits on the cheapest, which is for the others; the
        cheapest for all; the roomiest for all; and mixed by pools.
        """
        cheap, roomy = tuple(wishes[0] for wishes in self.wishes), self.roomiest()
        pools = [self.instance.kinds[stage.kind].pool for stage in self.stages]
        wide = tuple(
            b if self.instance.pools[p].group is None and self.crowded(stage, a) else a
            for stage, p, a, b in zip(self.stages, pools, cheap, roomy, strict=True)
        )
        differ = sorted({p for p, a, b in zip(pools, cheap, roomy, strict=True) if a != b})
        sets = [set(c) for n in range(len(differ) + 1) for c in combinations(differ, n)] if len(differ) <= MIXED else []
        mixed = [tuple(b if p in s else a for p, a, b in zip(pools, cheap, roomy, strict=True)) for s in sets]
        return list(dict.fromkeys([wide, cheap, roomy, *mixed]))

    def anneal(
        self, state: State, value: Value, rng: Random, steps: int, *, hot: float, cold: float
    ) -> tuple[Value, State]:
        """Walk from a state, less and less willing to get worse; the best state on the way."""
        best = (value, state)
        self.current = None
        moves, coarse = self.moves(), self.coarse_moves()
        short = steps < SHORT * len(self.stages)
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
        """Moves that change much at once: for walks too short to look at stages one by one."""
        moves: list[Callable[[State, Random], State | None]] = [self.resize_all] * 4
        moves += [self.habits, self.turn, self.calm, self.justify]
        if any(len(w) > 1 for w in self.wishes):
            moves += [self.move_pool] * 3
        return moves

    def moves(self) -> list[Callable[[State, Random], State | None]]:
        """The kinds of move, as often as they are to be tried."""
        moves: list[Callable[[State, Random], State | None]] = []
        moves += [self.resize] * 5 + [self.hurry] * 2
        moves += [self.resize_all, self.habits, self.turn] + [self.calm] * 2 + [self.wait] * 2
        moves += [self.justify] * 2 + [self.swap] * (3 if len(self.instance.steps) <= 300 else 1)
        if any(len(w) > 1 for w in self.wishes):
            moves += [self.move] * 2 + [self.stray]
        return moves

    def resize(self, state: State, rng: Random) -> State | None:
        """Let one stage have more or fewer nodes."""
        i = rng.randrange(len(self.stages))
        caps = list(state.choices.caps)
        most = self.most(self.stages[i], state.choices.flavours[i])
        caps[i] = _nudged(min(caps[i], most), most, rng)
        return replace(state, choices=replace(state.choices, caps=tuple(caps)))

    def resize_all(self, state: State, rng: Random) -> State | None:
        """Let all stages of a pool have more or fewer nodes."""
        kinds = self.instance.kinds
        pool = kinds[rng.choice(self.stages).kind].pool
        factor = rng.choice((0.5, 0.7, 0.85, 1.2, 1.4, 2.0))
        caps = [
            max(1, min(self.most(stage, f), round(cap * factor))) if kinds[stage.kind].pool == pool else cap
            for stage, f, cap in zip(self.stages, state.choices.flavours, state.choices.caps, strict=True)
        ]
        return replace(state, choices=replace(state.choices, caps=tuple(caps)))

    def hurry(self, state: State, rng: Random) -> State | None:
        """Make one stage more or less urgent."""
        i = rng.randrange(len(self.stages))
        bias = list(state.choices.bias)
        bias[i] = 0.0 if bias[i] and rng.random() < 0.3 else rng.gauss(0, 0.2) * self.judge.bounds.makespan
        return replace(state, choices=replace(state.choices, bias=tuple(bias)))

    def habits(self, state: State, rng: Random) -> State | None:
        """Change how eagerly idle nodes are used again, or who goes first where a limit binds."""
        if rng.random() < 0.5:
            return replace(state, choices=replace(state.choices, ease=rng.choice((0.0, 0.25, 0.5, 1.0, 2.0, 4.0))))
        patience = rng.choice((0.0, 0.02, 0.1, 0.3, 1.0)) * self.judge.bounds.makespan
        return replace(state, choices=replace(state.choices, patience=patience))

    def calm(self, state: State, rng: Random) -> State | None:
        """Let jobs wait for free places that can, for another end of the whole."""
        if rng.random() < 0.2:
            horizon = 0.0
        elif state.choices.horizon and rng.random() < 0.6:
            horizon = state.choices.horizon * rng.uniform(0.9, 1.1)
        else:
            horizon = self.best_makespan * rng.uniform(0.6, 1.05)
        return replace(state, choices=replace(state.choices, horizon=horizon))

    def wait(self, state: State, rng: Random) -> State | None:
        """Let one stage open nodes later or sooner."""
        i = rng.randrange(len(self.stages))
        late = list(state.choices.late)
        late[i] = 0.0 if late[i] and rng.random() < 0.4 else rng.gauss(0, 0.15) * self.best_makespan
        return replace(state, choices=replace(state.choices, late=tuple(late)))

    def stray(self, state: State, rng: Random) -> State | None:
        """Let one stage use other flavours' free places, or not."""
        i = rng.randrange(len(self.stages))
        roam = list(state.choices.roam)
        roam[i] = not roam[i]
        return replace(state, choices=replace(state.choices, roam=tuple(roam)))

    def justify(self, state: State, rng: Random) -> State | None:
        """Turn time round and let the jobs come in the order of the current schedule.

        Done twice, this is double justification (Valls, Ballestin, Quintanilla 2005), here with the nodes decided anew.
        """
        if self.current is None:
            self.current = self.decode(state)
        ranks = [0.0] * len(self.instance.steps)
        makespan = self.current.makespan
        for block in self.current.blocks:
            end = block.start + self.instance.steps[block.step].ticks
            rank = float(makespan - block.start if state.backwards else end)
            ranks[block.step] = max(ranks[block.step], rank)
        choices = replace(state.choices, ranks=tuple(ranks))
        return State(choices, not state.backwards)

    def swap(self, state: State, rng: Random) -> State | None:
        """Make one step more or less urgent, or give all steps their upward ranks again."""
        if state.choices.ranks is not None and rng.random() < 0.1:
            return replace(state, choices=replace(state.choices, ranks=None))
        instance = self.instance.reversed if state.backwards else self.instance
        ranks = list(state.choices.ranks or instance.tails)
        ranks[rng.randrange(len(ranks) - instance.gates)] += rng.gauss(0, 0.15) * self.judge.bounds.makespan
        return replace(state, choices=replace(state.choices, ranks=tuple(ranks)))

    def turn(self, state: State, rng: Random) -> State | None:
        """Let time run the other way."""
        return replace(state, backwards=not state.backwards)

    def move(self, state: State, rng: Random) -> State | None:
        """Move one stage, or all stages of its kind, to another flavour."""
        return self._moved(state, rng, rng.choice(("one", "kind", "pool")))

    def move_pool(self, state: State, rng: Random) -> State | None:
        """Move a whole pool to another flavour."""
        return self._moved(state, rng, "pool")

    def _moved(self, state: State, rng: Random, how: str) -> State | None:
        i = rng.randrange(len(self.stages))
        if len(self.wishes[i]) < 2:
            return None
        old = state.choices.flavours[i]
        new = rng.choice([f for f in self.wishes[i] if f != old])
        kinds = self.instance.kinds
        kind, pool = self.stages[i].kind, kinds[self.stages[i].kind].pool
        if self.instance.pools[pool].group is not None:
            how = "pool"
        moved = [
            new in self.wishes[j]
            and (j == i or (how == "kind" and s.kind == kind) or (how == "pool" and kinds[s.kind].pool == pool))
            for j, s in enumerate(self.stages)
        ]
        flavours = tuple(new if m else f for m, f in zip(moved, state.choices.flavours, strict=True))
        return replace(state, choices=replace(state.choices, flavours=flavours))


def _nudged(cap: int, most: int, rng: Random) -> int:
    """A cap a bit larger or smaller, between 1 and most."""
    factor = rng.choice((0.5, 0.7, 0.85, 1.2, 1.5, 2.0))
    new = cap + rng.choice((-1, 1)) if rng.random() < 0.4 else round(cap * factor)
    return max(1, min(most, new))


def _wishes(instance: Instance, stages: tuple[Stage, ...]) -> list[tuple[int, ...]]:
    """For each stage the flavours that it may run on, the cheapest (in a group: for all of it) first."""
    result = []
    shared: dict[int, dict[int, float]] = {}
    for stage in stages:
        kind = instance.kinds[stage.kind]
        if instance.pools[kind.pool].group is not None:
            costs = shared.setdefault(kind.pool, dict.fromkeys(kind.wishes, 0.0))
            for f in costs:
                costs[f] += (stage.work + 1) * kind.on(f).share * instance.flavours[f].price
    for stage in stages:
        kind = instance.kinds[stage.kind]
        if kind.pool in shared:
            result.append(tuple(sorted(kind.wishes, key=lambda f, c=shared[kind.pool]: (c[f], f))))  # type: ignore[misc]
        else:
            first = instance.cheapest[stage.kind]
            result.append((first, *(f for f in kind.wishes if f != first)))
    return result
