"""Measure the planner: `python -m bench.planner [suite | alone | article | proofs | adversary | scale]`.

Needs `uv pip install --group bench`: wfcommons, toil. Prints tables and writes them to bench/planner/results/NAME.md.
Every plan goes through the verifier. The clock of the search is the CPU's, so that a busy machine measures the same.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import product
from math import exp, log, log2
from multiprocessing import get_context
from pathlib import Path
from random import Random

from bench.planner.adversary import climb
from bench.planner.baselines import baselines
from bench.planner.instances import LIMITS, RECIPES, REGIMES, Shape, layered_shape, problem, wfcommons_shape
from bench.planner.plain import plain_bounds
from bench.planner.scaling import scaled
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Plan, Problem
from streamflow_fluxop.planning import budget, solve
from streamflow_fluxop.planning.bound.lower_bounds import least_score, lower_bounds
from streamflow_fluxop.planning.improve.base import Task
from streamflow_fluxop.planning.improve.cpsat import CPSAT, PACE
from streamflow_fluxop.planning.objective import Judge
from streamflow_fluxop.planning.portfolio import automatic
from streamflow_fluxop.planning.problem.instance import TICKS, compile_problem
from streamflow_fluxop.planning.result.schedule import Schedule
from streamflow_fluxop.sources import read
from streamflow_fluxop.verification import verify

SMALLEST = {"Cycles": 100, "Genome": 100, "Montage": 100, "Soykb": 100, "Seismology": 110, "Bwa": 110}
ARTICLE = Path(__file__).parents[2] / "docs/examples/article.yml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", choices=["suite", "alone", "article", "proofs", "adversary", "scale"], nargs="?", default="suite"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="time limit of a plan")
    parser.add_argument("--sizes", type=int, nargs="+", help="tasks of a workflow")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--every", action="store_true", help="each bring-up with each limit, not in turn")
    parser.add_argument("--recipes", nargs="+", default=[*RECIPES, "Layered"])
    parser.add_argument("--cp-sat", type=float, default=0, metavar="SECONDS", help="improve what is found with CP-SAT")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    budget.monotonic = time.process_time
    match options.what:
        case "suite":
            lines = suite(options)
        case "alone":
            lines = alone(options)
        case "article":
            lines = article(options.seconds)
        case "proofs":
            lines = proofs(options.seconds)
        case "adversary":
            lines = adversary(options.seeds, options.seconds)
        case _:
            lines = scale(options.sizes or [10_000, 100_000], options.recipes, options.seconds)
    head = [f"`{shlex.join(['python', '-m', 'bench.planner', *sys.argv[1:]])}`", ""]
    out = options.out or Path(__file__).parent / "results" / f"{options.what}.md"
    out.write_text("\n".join(head + lines) + "\n", encoding="utf-8")


def shape_of(recipe: str, size: int, seed: int) -> Shape | None:
    """A workflow of a recipe; None where the recipe makes none so small."""
    if recipe == "Layered":
        return layered_shape(size, seed)
    if size <= 50 and recipe in SMALLEST:
        return None
    return wfcommons_shape(recipe, max(size, SMALLEST.get(recipe, 0)), seed)


def planned(case: Problem, seconds: float, strategy: str = "auto", seed: int = 0) -> tuple[Plan, float]:
    """A verified plan, and the CPU seconds that it took."""
    start = time.process_time()
    plan = solve(case, strategy=strategy, seed=seed, time_limit=seconds)
    took = time.process_time() - start
    faults = verify(plan)
    if faults:
        raise SystemExit(f"{case.workflow.name}: {faults[:3]}")
    return plan, took


def article(seconds: float) -> list[str]:
    """The example of the article."""
    plan, took = planned(read(workflow=ARTICLE)[0].problem, seconds)
    line = (
        f"{len(plan.miniclusters)} MiniClusters, cost {plan.cost:,.0f}, makespan {plan.makespan:,.0f} s, "
        f"{'optimal' if plan.optimal else 'not proved'}, in {took:.2f} CPU s"
    )
    print(line)
    return [line]


def instances(options: argparse.Namespace) -> Iterator[tuple[Shape, int, str, str]]:
    """Workflow, seed, bring-up and limit of each problem that the options ask for."""
    settings = list(product(REGIMES, LIMITS))
    n = 0
    for size, seed, recipe in product(options.sizes or [50, 100, 1000], range(1, options.seeds + 1), options.recipes):
        shape = shape_of(recipe, size, seed)
        if shape is not None:
            turn = [(list(REGIMES)[n % 3], ("loose", "tight")[n // 3 % 2])]
            n += 1
            for regime, limits in settings if options.every else turn:
                yield shape, seed, regime, limits


def suite(options: argparse.Namespace) -> list[str]:
    """Recipes and layered graphs, regimes and limits."""
    lines = [
        "| instance | bring-up | limit | score | bound | over it | cost | makespan | MiniClusters | CPU s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    scores: list[tuple[float, float]] = []
    plainly: list[tuple[float, float]] = []
    ratios: dict[str, list[tuple[float, float]]] = {}
    lost: list[str] = []
    for shape, seed, regime, limits in instances(options):
        case = problem(shape, seed, regime, limits)
        plan, took = planned(case, options.seconds)
        scores.append((plan.score, plan.score / plan.bounds.score))
        cost, makespan, least = plain_bounds(compile_problem(case))
        plainly.append(((plan.cost / cost + plan.makespan * TICKS / makespan) / 2, least))
        others = dict(baselines(case))
        if options.cp_sat:
            others[f"CP-SAT {options.cp_sat:g} s"] = lambda c=case: with_cpsat(c, options.seconds, options.cp_sat)
        for name, baseline in others.items():
            try:
                other = baseline()
            except UserError:
                continue
            ratios.setdefault(name, []).append((other.cost / plan.cost, other.makespan / 1000 / plan.makespan))
            score = (other.cost / plan.bounds.cost + other.makespan / 1000 / plan.bounds.makespan) / 2
            if score < plan.score * (1 - 1e-9):
                lost.append(f"{shape.name}, {regime}, {limits}: {name} {score:.3f}, ours {plan.score:.3f}")
        lines.append(
            f"| {shape.name} | {regime} | {limits} | {plan.score:.3f} | {plan.bounds.score:.3f} | "
            f"{plan.score / plan.bounds.score - 1:.1%} | {plan.cost / plan.bounds.cost:.2f} | "
            f"{plan.makespan / plan.bounds.makespan:.2f} | {len(plan.miniclusters)} | {took:.1f} |"
        )
        print(lines[-1], flush=True)
    summary = [
        "",
        f"Geometric means of {len(scores)}: score {geometric(s for s, _ in scores):.3f}, "
        f"over its bound {geometric(g for _, g in scores) - 1:.1%}.",
        "",
        f"By the plain bounds that the aim of 1.15 was set in (bench/planner/plain.py): score "
        f"{geometric(s for s, _ in plainly):.3f}; no plans can have less than "
        f"{geometric(least for _, least in plainly):.3f}.",
        "",
        "| against a MiniCluster for | cost / ours | makespan / ours | instances |",
        "|---|---|---|---|",
        *(
            f"| {name} | {geometric(c for c, _ in r):.2f} | {geometric(m for _, m in r):.2f} | {len(r)} |"
            for name, r in ratios.items()
        ),
        "",
        f"Worse than one of these: {'; '.join(lost) or 'never'}.",
    ]
    print("\n".join(summary))
    return lines + summary


def alone(options: argparse.Namespace) -> list[str]:
    """How tight the bounds of cost and of makespan are by themselves, and what the score can't be below even so.

    Each is looked for in two ways: as the only goal, and with nine tenths of the weight.
    """
    lines = [
        "| instance | bring-up | limit | cheapest / bound | quickest / bound | bound of score | against these |",
        "|---|---|---|---|---|---|---|",
    ]
    table: list[tuple[float, float, float, float]] = []
    for shape, seed, regime, limits in instances(options):
        plans = [
            planned(problem(shape, seed, regime, limits, **objective), options.seconds)[0]
            for objective in ({"goal": "cost"}, {"weight": 0.9}, {"goal": "makespan"}, {"weight": 0.1})
        ]
        cost, makespan = min(p.cost for p in plans), min(p.makespan for p in plans)
        instance = compile_problem(problem(shape, seed, regime, limits))
        bounds = lower_bounds(instance)
        least = max(1.0, least_score(instance, cost, makespan * TICKS))
        table.append((cost / bounds.cost, makespan * TICKS / bounds.makespan, bounds.score, least))
        row = " | ".join(f"{value:.3f}" for value in table[-1])
        lines.append(f"| {shape.name} | {regime} | {limits} | {row} |")
        print(lines[-1], flush=True)
    means = " | ".join(f"{geometric(column):.3f}" for column in zip(*table, strict=True))
    lines.append(f"| geometric mean | | | {means} |")
    print(lines[-1])
    return lines


def with_cpsat(case: Problem, seconds: float, more: float) -> Schedule:
    """What CP-SAT makes of the plan in so many seconds more, where the problem is small enough to be written down."""
    instance = compile_problem(case)
    solver = CPSAT(more / PACE, 200)
    if not solver.applies(instance):
        raise UserError("too large for CP-SAT")
    judge = Judge(instance, lower_bounds(instance))
    found = automatic(instance, judge, seed=0, seconds=seconds)
    task = Task(instance, judge, budget.Budget(3 * more, instance.jobs), Random(0), 0)
    answer = solver.improve(task, found.best)
    return answer.schedule or found.best


def proofs(seconds: float) -> list[str]:
    """How near a plan comes to what CP-SAT proves."""
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


def adversary(seeds: int, seconds: float) -> list[str]:
    """The worst that a search for workflows on which we lose finds."""
    lines = ["| seed | ours / the best other | which | tasks |", "|---|---|---|---|"]
    for seed in range(1, seeds + 1):
        ratio, who, case = climb(seed, 60, min(seconds, 0.3))
        lines.append(f"| {seed} | {ratio:.3f} | {who} | {len(case.workflow.steps)} |")
        print(lines[-1], flush=True)
    return lines


def scale(sizes: list[int], recipes: list[str], seconds: float) -> list[str]:
    """CPU time and memory of large workflows, from the JSON document to the plan document, each in its own process."""
    lines = [
        "| instance | read | plan | write | together | by n log2 n | GB | score | bound | verify |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size, recipe in product(sizes, recipes):
        document = Path(tempfile.gettempdir(), f"fluxop-bench-{recipe}-{size}.json")
        if not document.exists():  # 100 000 tasks take WfCommons half a minute
            shape = shape_of(recipe, size, 1)
            assert shape is not None
            whole = document.with_suffix(f".{os.getpid()}")
            whole.write_text(problem(shape, 1).model_dump_json(), encoding="utf-8")
            whole.rename(document)
        with get_context("spawn").Pool(1) as pool:
            name, times, used, score, bound = pool.apply(scaled, (document, seconds))
        read, plan, write, check = (f"{t:.1f} s" for t in times)
        lines.append(
            f"| {name} | {read} | {plan} | {write} | {sum(times[:3]):.1f} s | "
            f"{1e6 * sum(times[:3]) / size / log2(size):.1f} µs | {used:.2f} | {score:.3f} | {bound:.3f} | {check} |"
        )
        print(lines[-1], flush=True)
    return lines


def geometric(values: Iterable[float]) -> float:
    """Geometric mean."""
    logs = [log(v) for v in values]
    return exp(sum(logs) / len(logs))


if __name__ == "__main__":
    main()
