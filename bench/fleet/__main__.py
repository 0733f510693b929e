"""Measure the fleet on simulated time: `python -m bench.fleet [deviation | reality | decisions]`.

`deviation`: the plans of the planner's suite, run without noise, and with durations whose standard deviation is 30 %
(lognormal, mean 1), or that are up to 30 % off (uniform, `--up-to`); against the plan, against what simulated runs with
other durations had led to expect, and against a plan that was made with the true durations (clairvoyant).
`reality`: runs of plans whose every time was a guess, see `bench.fleet.reality`.
`decisions`: the CPU time that the fleet's decisions take, a job. Needs `uv pip install --group bench`: wfcommons.
Prints tables and writes them to bench/fleet/results/NAME.md. The clock of the planner's search is the CPU's.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from itertools import product
from math import sqrt
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench.fleet.reality import reality
from bench.planner.__main__ import planned, shape_of
from bench.planner.instances import RECIPES, REGIMES, problem
from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Plan, Problem, Step, Workflow
from streamflow_fluxop.orchestration.simulation.expectation import expect
from streamflow_fluxop.orchestration.simulation.simulated import SimulatedOutcome, factor
from streamflow_fluxop.orchestration.simulation.simulator import Simulation
from streamflow_fluxop.planning import budget

EXPECTING = 20
"""Simulated runs that say what to expect."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["deviation", "reality", "decisions"], nargs="?", default="deviation")
    parser.add_argument("--seconds", type=float, default=5.0, help="time limit of a plan")
    parser.add_argument("--sizes", type=int, nargs="+", help="tasks of a workflow, or jobs")
    parser.add_argument("--recipes", nargs="+", default=[*RECIPES, "Layered"])
    parser.add_argument("--noise", type=float, default=0.3, help="standard deviation as a share of the estimate")
    parser.add_argument("--up-to", action="store_true", help="durations are uniform, no more than the noise off")
    parser.add_argument("--seeds", type=int, default=3, help="noisy runs of a plan")
    parser.add_argument("--untold", action="store_true", help="nobody is told the spread of the durations")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    budget.monotonic = time.process_time
    match options.what:
        case "deviation":
            lines = deviation(options)
        case "reality":
            lines = reality(options)
        case _:
            lines = decisions(options.sizes or [1_000, 10_000, 100_000])
    head = [f"`{shlex.join(['python', '-m', 'bench.fleet', *sys.argv[1:]])}`", ""]
    out = options.out or Path(__file__).parent / "results" / f"{options.what}.md"
    out.write_text("\n".join(head + lines) + "\n", encoding="utf-8")


COLUMNS = (
    "instance", "bring-up", "limit", "without noise: cost", "makespan", "with noise, off the plan: cost", "makespan",
    "off what was expected: cost", "makespan", "clairvoyant plan off the plan: cost", "makespan",
    "above the clairvoyant plan: cost", "makespan",
)  # fmt: skip


def deviation(options: argparse.Namespace) -> list[str]:
    """Actual against planned, against what simulated runs had led to expect, and against clairvoyant plans."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    exact: list[Off] = []
    noisy: list[Off] = []
    unforeseen: list[Off] = []
    inherent: list[Off] = []
    above: list[Off] = []
    n = 0
    for size, recipe in product(options.sizes or [50, 100, 1000], options.recipes):
        shape = shape_of(recipe, size, 1)
        if shape is None:
            continue
        regime, limits = list(REGIMES)[n % 3], ("loose", "tight")[n // 3 % 2]
        n += 1
        case = problem(shape, 1, regime, limits)
        told = with_spread(case, options.noise / sqrt(3) if options.up_to else options.noise)
        plan, _ = planned(case if options.untold else told, options.seconds)
        exact.append(off(Simulation(plan).run(), plan))
        expected = expect(plan.model_copy(update={"problem": told}), EXPECTING)
        assert expected is not None
        first = len(noisy)
        for seed in range(options.seeds):
            truth = true_durations(case, options.noise, seed, up_to=options.up_to)
            outcome = Simulation(plan, seconds={(name, 0): s for name, s in truth.items()}).run()
            knowing, _ = planned(with_durations(case, truth), options.seconds)
            noisy.append(off(outcome, plan))
            unforeseen.append((outcome.cost / expected.cost.mean - 1, outcome.makespan / expected.makespan.mean - 1))
            inherent.append((knowing.cost / plan.cost - 1, knowing.makespan / plan.makespan - 1))
            above.append(off(outcome, knowing))
        cells = [shape.name, regime, limits, *(f"{abs(x):.2%}" for x in exact[-1])]
        for offs in (noisy, unforeseen, inherent):
            cells += [f"{x:.1%}" for x in middle(offs[first:])]
        cells += [f"{median(o[i] for o in above[first:]):+.1%}" for i in range(2)]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    equal = sum(abs(c) < 1e-6 and abs(m) < 1e-6 for c, m in exact)
    what = f"up to {options.noise:.0%}" if options.up_to else f"{options.noise:.0%}"
    stated = "which neither planner nor fleet is told" if options.untold else "which the steps state"
    (cost, makespan), (cost_e, makespan_e), (cost_c, makespan_c) = map(middle, (noisy, unforeseen, inherent))
    summary = [
        "",
        f"Without noise {equal} of {len(exact)} runs are their plans to the second, no cost is more than "
        f"{max(abs(c) for c, _ in exact):.2%} off, no makespan more than {max(abs(m) for _, m in exact):.2%}.",
        "",
        f"With {what} noise ({stated}), medians of {len(noisy)} runs:",
        "",
        f"- cost {cost:.1%} and makespan {makespan:.1%} off the plan; the clairvoyant plan is {cost_c:.1%} and "
        f"{makespan_c:.1%} off it, too;",
        f"- cost {cost_e:.1%} and makespan {makespan_e:.1%} off the means of {EXPECTING} simulated runs with other "
        "durations, which is what `fluxop plan` says to expect;",
        f"- cost {median(c for c, _ in above):+.1%} and makespan {median(m for _, m in above):+.1%} against the "
        f"clairvoyant plan, the mean of both {median((c + m) / 2 for c, m in above):+.1%}.",
    ]
    print("\n".join(summary))
    return lines + summary


Off = tuple[float, float]
"""By which share cost and makespan are above something."""


def middle(offs: list[Off]) -> Off:
    """Medians of the distances, without their signs."""
    return median(abs(c) for c, _ in offs), median(abs(m) for _, m in offs)


def off(outcome: SimulatedOutcome, plan: Plan) -> Off:
    """By which share cost and makespan are above the plan's."""
    return outcome.cost / plan.cost - 1, outcome.makespan / plan.makespan - 1


def true_durations(case: Problem, noise: float, seed: int, *, up_to: bool) -> dict[str, float]:
    """Seconds that each step, of one job, really takes."""
    rng = Random(seed)
    assert all(s.width == 1 for s in case.workflow.steps)
    return {
        s.name: s.duration.seconds * (rng.uniform(1 - noise, 1 + noise) if up_to else factor(rng, noise))
        for s in case.workflow.steps
    }


def with_durations(case: Problem, seconds: dict[str, float]) -> Problem:
    """The same problem for who knows how long everything takes, to the millisecond."""
    steps = [
        s.model_copy(update={"duration": Duration(seconds=max(0.001, round(seconds[s.name], 3)))})
        for s in case.workflow.steps
    ]
    return case.model_copy(update={"workflow": case.workflow.model_copy(update={"steps": steps})})


def with_spread(case: Problem, noise: float) -> Problem:
    """The same problem, whose durations state their spread."""
    steps = [
        s.model_copy(update={"duration": s.duration.model_copy(update={"spread": noise * s.duration.seconds})})
        for s in case.workflow.steps
    ]
    return case.model_copy(update={"workflow": case.workflow.model_copy(update={"steps": steps})})


def many_jobs(jobs: int, miniclusters: int = 100) -> Problem:
    """Scatters in pairs, each pair with an image of its own, so that it has a MiniCluster of its own."""
    width = max(1, jobs // (2 * miniclusters))
    steps = []
    for i in range(miniclusters):
        common: dict[str, Any] = {"width": width, "image": f"image-{i}", "needs": Needs(cores_per_task=1)}
        steps.append(Step(name=f"/first-{i}", duration=Duration(seconds=60 + i), **common))
        after = [Dependency(step=f"/first-{i}", each=True)]
        steps.append(Step(name=f"/second-{i}", duration=Duration(seconds=30 + i), after=after, **common))
    flavour = Flavour(cores=32, memory=131072, price=1.7, bring_up=60, tear_down=30)
    return Problem(
        workflow=Workflow(name=f"{jobs} jobs", steps=steps),
        flavours={"node": flavour},
        limits=Limits(nodes=4 * miniclusters),
    )


def decisions(sizes: list[int]) -> list[str]:
    """CPU time of the fleet's decisions, with noise, so that nothing is as it was planned."""
    lines = [
        "| jobs | MiniClusters | at once | events | CPU ms a job | whole simulation |",
        "|---|---|---|---|---|---|",
    ]
    for jobs in sizes:
        plan, _ = planned(many_jobs(jobs), 5.0, "single")
        rng = Random(1)
        seconds = {
            (s.name, i): s.duration.seconds * factor(rng, 0.3)
            for s in plan.problem.workflow.steps
            for i in range(s.width)
        }
        simulation = Simulation(plan, seconds=seconds)
        clock = Stopwatch(simulation.fleet.handle)
        simulation.fleet.handle = clock  # type: ignore[method-assign, assignment]
        most = 0

        def look(_: float, fleet: Any) -> None:
            nonlocal most
            most = max(most, fleet.room.miniclusters)

        simulation.watch = look
        start = time.process_time()
        outcome = simulation.run()
        whole = time.process_time() - start
        lines.append(
            f"| {outcome.jobs:,} | {len(outcome.lives)} | {most} | {clock.calls:,} | "
            f"{1000 * clock.seconds / outcome.jobs:.3f} | {whole:.1f} s |"
        )
        print(lines[-1], flush=True)
    return lines


class Stopwatch:
    """Counts the calls of a function and the CPU time that they take."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.calls = 0
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        start = time.thread_time()
        try:
            return self._function(*args)
        finally:
            self.seconds += time.thread_time() - start
            self.calls += 1


if __name__ == "__main__":
    main()
