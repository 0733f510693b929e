"""What the fleet makes of a plan whose every time was a guess: bring-ups and durations are 0.01 to 3 times of it.

Beside it: the plan of who knew all times from the start (clairvoyant), and `strategy: dynamic`, in which MiniClusters
come when jobs need them, on the same times.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import exp, log
from random import Random
from statistics import median

from bench.planner.__main__ import planned, shape_of
from bench.planner.instances import LIMITS, REGIMES, problem
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.grouping import group_steps
from streamflow_fluxop.model import Dependency, Duration, Flavour, Needs, Plan, Problem, Step, Workflow
from streamflow_fluxop.orchestration.simulation.simulated import SimulatedOutcome
from streamflow_fluxop.orchestration.simulation.simulator import Simulation

LEAST, MOST = 0.01, 3.0

KINDS = ("common", "each")
"""One factor for all durations of a run, or one a step."""


@dataclass(frozen=True)
class Truth:
    """What everything really takes: factors of bring-ups and tear-downs, and of each step's jobs."""

    bring_ups: float
    durations: Mapping[str, float]

    def flavours(self, case: Problem) -> dict[str, Flavour]:
        return {
            name: f.model_copy(
                update={"bring_up": f.bring_up * self.bring_ups, "tear_down": f.tear_down * self.bring_ups}
            )
            for name, f in case.flavours.items()
        }

    def seconds(self, step: Step) -> float:
        return max(0.001, round(step.duration.seconds * self.durations[step.name], 3))

    def known(self, case: Problem) -> Problem:
        """The same problem for who knows it."""
        steps = [s.model_copy(update={"duration": Duration(seconds=self.seconds(s))}) for s in case.workflow.steps]
        workflow = case.workflow.model_copy(update={"steps": steps})
        return case.model_copy(update={"workflow": workflow, "flavours": self.flavours(case)})


def truth(case: Problem, kind: str, rng: Random) -> Truth:
    """Factors between LEAST and MOST, even on a logarithmic scale."""

    def draw() -> float:
        return exp(rng.uniform(log(LEAST), log(MOST)))

    bring_ups, common = draw(), draw()
    return Truth(bring_ups, {s.name: draw() if kind == "each" else common for s in case.workflow.steps})


def scatters(seed: int, regime: str, limits: str) -> Problem:
    """Scatters that follow each other, as CWL workflows have them."""
    rng = Random(seed)
    flavours = problem(shape_of("Layered", 5, 1), 1, regime, limits).flavours  # type: ignore[arg-type]
    steps: list[Step] = []
    for i in range(rng.randint(4, 8)):
        width = rng.choice((1, 1, 4, 10, 40))
        after = []
        if steps:
            before = rng.sample(steps, min(len(steps), rng.randint(1, 2)))
            after = [Dependency(step=d.name, each=d.width == width and width > 1) for d in before]
        gpu = rng.random() < 0.15
        needs = Needs(cores_per_task=rng.choice((1, 2, 4, 8)), gpus_per_task=int(gpu), memory=1024)
        steps.append(
            Step(
                name=f"/s{i}", width=width, needs=needs, image=f"image-{rng.randrange(2)}", after=after,
                duration=Duration(seconds=round(rng.lognormvariate(5.0, 0.8), 1)),
            )
        )  # fmt: skip
    return Problem(workflow=Workflow(name=f"Scatters-{seed}", steps=steps), flavours=flavours, limits=LIMITS[limits])


def cases(options: argparse.Namespace) -> Iterator[Problem]:
    settings = [(regime, limits) for limits in ("loose", "tight") for regime in REGIMES]
    n = 0
    for size, recipe in product(options.sizes or [50, 100], options.recipes):
        if (shape := shape_of(recipe, size, 1)) is not None:
            yield problem(shape, 1, *settings[n % len(settings)])
            n += 1
    for seed in range(8):
        yield scatters(seed, *settings[seed % len(settings)])


def simulated(plan: Plan, what: Truth, *, dynamic: bool = False) -> SimulatedOutcome:
    case = plan.problem
    groups = None
    if dynamic:
        config = FleetConfig(cluster="local", flavours=case.flavours, limits=case.limits)
        groups = group_steps(case.workflow.steps, config)
    seconds = {(s.name, i): what.seconds(s) for s in case.workflow.steps for i in range(s.width)}
    return Simulation(plan, seconds=seconds, flavours=what.flavours(case), groups=groups).run()


COLUMNS = (
    "instance", "durations", "bring-ups", "times", "above who knew: cost", "makespan", "dynamic above who knew: cost",
    "makespan", "makespan above dynamic's",
)  # fmt: skip


def reality(options: argparse.Namespace) -> list[str]:
    """Runs of plans made of guesses, a line each."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    cost: list[float] = []
    makespan: list[float] = []
    dynamic_cost: list[float] = []
    dynamic_makespan: list[float] = []
    longer: list[float] = []
    for case in cases(options):
        plan, _ = planned(case, options.seconds)
        for kind, seed in product(KINDS, range(options.seeds)):
            what = truth(case, kind, Random(f"{case.workflow.name} {kind} {seed}"))
            knowing, _ = planned(what.known(case), options.seconds)
            ran, dynamic = simulated(plan, what), simulated(plan, what, dynamic=True)
            cost.append(ran.cost / knowing.cost - 1)
            makespan.append(ran.makespan / knowing.makespan - 1)
            dynamic_cost.append(dynamic.cost / knowing.cost - 1)
            dynamic_makespan.append(dynamic.makespan / knowing.makespan - 1)
            longer.append(ran.makespan / dynamic.makespan - 1)
            durations = f"x {next(iter(what.durations.values())):.2f}" if kind == "common" else "x 0.01 to 3"
            figures = (series[-1] for series in (cost, makespan, dynamic_cost, dynamic_makespan, longer))
            cells = [case.workflow.name, kind, f"x {what.bring_ups:.2f}", durations, *(f"{x:+.1%}" for x in figures)]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    worse = [x for x in longer if x > 0.05]
    summary = [
        "",
        f"Medians of {len(cost)} runs: cost {median(cost):+.1%} and makespan {median(makespan):+.1%} against the plan "
        f"of who knew; `dynamic`: {median(dynamic_cost):+.1%} and {median(dynamic_makespan):+.1%}. "
        f"Makespan against `dynamic`: {median(longer):+.1%} in the median, {max(longer):+.1%} at the most; "
        f"in {len(worse)} runs more than 5 % longer.",
    ]
    print("\n".join(summary))
    return lines + summary
