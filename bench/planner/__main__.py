"""Measure the planner: `python -m bench.planner [--quick | --scale | --proofs]`, with wfcommons in the environment.

Prints a table and writes it to bench/planner/results.md. Every plan goes through the verifier. The clock of the
search is the CPU's, so that a busy machine measures the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from math import exp, log
from pathlib import Path
from typing import Any

from bench.planner.instances import RECIPES, REGIMES, Shape, layered_shape, problem, wfcommons_shape
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Plan, Problem
from streamflow_fluxop.planner import budget, solve, verify
from streamflow_fluxop.planner.extremes import by_level, per_step, per_task, single
from streamflow_fluxop.planner.instance import compile_problem

SMALLEST = {"Cycles": 100, "Genome": 100, "Montage": 100, "Soykb": 100, "Seismology": 110, "Bwa": 110}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 1000])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="sizes 50 and 100 only")
    parser.add_argument("--scale", action="store_true", help="10 000 and 100 000 tasks instead")
    parser.add_argument("--proofs", action="store_true", help="against proved optima, up to 45 tasks, instead")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.md"))
    options = parser.parse_args()
    budget.monotonic = time.process_time
    if options.scale:
        lines = scale(options.seconds)
    elif options.proofs:
        lines = proofs(options.seconds)
    else:
        lines = suite(options.sizes[:2] if options.quick else options.sizes, options.seeds, options.seconds)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def shapes(size: int, seed: int) -> list[Shape]:
    """Each recipe once, and a layered graph."""
    made = [
        wfcommons_shape(r, max(size, SMALLEST.get(r, 0)), seed)
        for r in RECIPES
        if size >= SMALLEST.get(r, 0) or size > 50
    ]
    return [*made, layered_shape(size, seed)]


def planned(case: Problem, seconds: float, strategy: str = "auto", seed: int = 0) -> tuple[Plan, float]:
    """A verified plan, and the CPU seconds that it took."""
    start = time.process_time()
    plan = solve(case, strategy=strategy, seed=seed, time_limit=seconds)
    took = time.process_time() - start
    faults = verify(plan)
    if faults:
        raise SystemExit(f"{case.workflow.name}: {faults[:3]}")
    return plan, took


def by_category(case: Problem) -> Problem:
    """The same with a group a category (and level of it): what a MiniCluster a scattered step is."""
    steps = [
        s.model_copy(update={"group": s.name.rsplit("_", 1)[0] + str(hash(s.needs)) + str(s.image)})
        for s in case.workflow.steps
    ]
    return case.model_copy(update={"workflow": case.workflow.model_copy(update={"steps": steps})})


BASELINES: dict[str, Callable[[Problem], Any]] = {
    "a task": lambda p: per_task(compile_problem(p)),
    "a step": lambda p: per_step(compile_problem(by_category(p))),
    "one an image": lambda p: single(compile_problem(p)),
    "PR 2174": lambda p: by_level(compile_problem(p)),
    "PR 2174, just in time": lambda p: by_level(compile_problem(p), barrier=False, ahead=True),
}


def suite(sizes: list[int], seeds: int, seconds: float) -> list[str]:
    """Recipes and layered graphs, regimes and limits in turn."""
    lines = [
        "| instance | bring-up | limit | score | bound | over it | cost | makespan | MiniClusters | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    scores: list[tuple[float, float]] = []
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in BASELINES}
    n = 0
    for size in sizes:
        for seed in range(1, seeds + 1):
            for shape in shapes(size, seed):
                regime, limits = list(REGIMES)[n % 3], ("loose", "tight")[n // 3 % 2]
                n += 1
                case = problem(shape, seed, regime, limits)
                plan, took = planned(case, seconds)
                scores.append((plan.score, plan.score / plan.bounds.score))
                for name, baseline in BASELINES.items():
                    try:
                        other = baseline(case)
                    except UserError:
                        continue
                    ratios[name].append((other.cost / plan.cost, other.makespan / 1000 / plan.makespan))
                lines.append(
                    f"| {shape.name} | {regime} | {limits} | {plan.score:.3f} | {plan.bounds.score:.3f} | "
                    f"{plan.score / plan.bounds.score - 1:.1%} | {plan.cost / plan.bounds.cost:.2f} | "
                    f"{plan.makespan / plan.bounds.makespan:.2f} | {len(plan.miniclusters)} | {took:.1f} |"
                )
                print(lines[-1], flush=True)
    lines += [
        "",
        f"Geometric means of {len(scores)}: score {geometric(s for s, _ in scores):.3f}, "
        f"over its bound {geometric(g for _, g in scores) - 1:.1%}.",
        "",
        "| against a MiniCluster for | cost / ours | makespan / ours | instances |",
        "|---|---|---|---|",
        *(
            f"| {name} | {geometric(c for c, _ in r):.2f} | {geometric(m for _, m in r):.2f} | {len(r)} |"
            for name, r in ratios.items()
            if r
        ),
    ]
    print("\n".join(lines[-8:]))
    return lines


def proofs(seconds: float) -> list[str]:
    """How near the search alone comes to what CP-SAT proves."""
    lines = ["| instance | auto | proved | over it | CPU s |", "|---|---|---|---|---|"]
    cases = [problem(layered_shape(n, n), n, "autoscaling", "tight") for n in (10, 15, 20, 25, 30, 35, 40, 45)]
    cases += [problem(wfcommons_shape("Epigenomics", 45, s), s, "autoscaling", "tight") for s in (1, 2)]
    for case in cases:
        plan, took = planned(case, seconds)
        best, _ = planned(case, 60, "optimal")
        status = f"{best.score:.4f}" if best.optimal else f"not proved, {best.score:.4f}"
        lines.append(
            f"| {case.workflow.name} | {plan.score:.4f} | {status} | {plan.score / best.score - 1:.2%} | {took:.1f} |"
        )
        print(lines[-1], flush=True)
    return lines


def scale(seconds: float) -> list[str]:
    """Time and memory at 10 000 and 100 000 tasks, from the JSON document to the plan document."""
    lines = ["| instance | read | planned | GB | score | bound |", "|---|---|---|---|---|---|"]
    for size in (10_000, 100_000):
        for shape in (
            layered_shape(size, 1),
            wfcommons_shape("Montage", size, 1),
            wfcommons_shape("Epigenomics", size, 1),
        ):
            text = json.dumps(problem(shape, 1).model_dump(mode="json"))
            start = time.process_time()
            case = Problem.model_validate_json(text)
            read = time.process_time() - start
            plan, took = planned(case, seconds)
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            lines.append(
                f"| {shape.name} | {read:.1f} s | {took:.1f} s | {used:.2f} | {plan.score:.3f} | "
                f"{plan.bounds.score:.3f} |"
            )
            print(lines[-1], flush=True)
    return lines


def geometric(values: Any) -> float:
    """Geometric mean."""
    logs = [log(v) for v in values]
    return exp(sum(logs) / len(logs))


if __name__ == "__main__":
    main()
