"""Problems to measure the planner on: WfCommons recipes with seeded needs, and random layered graphs.

Every task of a recipe has one core and no memory; needs and images are given to task categories by a seeded rule.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from streamflow_fluxop.model import Dependency, Duration, Flavour, Limits, Needs, Objective, Problem, Step, Workflow

RECIPES = ("Blast", "Bwa", "Cycles", "Epigenomics", "Genome", "Montage", "Seismology", "Soykb", "Srasearch")
REGIMES = {"warm": (15.0, 35.0), "autoscaling": (60.0, 130.0), "new cluster": (300.0, 220.0)}
LIMITS = {"tight": Limits(nodes=8), "loose": Limits(nodes=64)}


@dataclass(frozen=True)
class Shape:
    """A workflow without needs: tasks with category, seconds, and whom they wait for."""

    name: str
    tasks: list[tuple[str, str, float, list[str]]]


def wfcommons_shape(recipe: str, tasks: int, seed: int) -> Shape:
    """A generated instance of a recipe; needs the package wfcommons."""
    import logging

    import networkx as nx
    import numpy as np
    import wfcommons
    from wfcommons import WorkflowGenerator

    logging.disable(logging.ERROR)
    random.seed(seed)
    np.random.seed(seed)

    class Recipe(getattr(wfcommons, f"{recipe}Recipe")):  # type: ignore[misc]
        def _generate_task_files(self, task: object) -> list[object]:
            return []  # nobody reads them, they are drawn last, and take minutes for 100 000 tasks

    graph: Any = WorkflowGenerator(
        Recipe.from_num_tasks(max(tasks, {"Seismology": 103, "Bwa": 106}.get(recipe, 0)))
    ).build_workflow()
    order = list(nx.topological_sort(graph))
    return Shape(
        f"{recipe}-{len(order)}",
        [
            (
                t,
                t.rsplit("_", 1)[0],
                float(graph.tasks[t].runtime),
                list(graph.predecessors(t)),
            )
            for t in order
        ],
    )


def layered_shape(tasks: int, seed: int, layers: int | None = None) -> Shape:
    """A random graph in layers, lognormal durations, one to three predecessors in the layer before."""
    rng = random.Random(seed)
    layers = layers or max(3, round(tasks**0.5 / 1.5))
    sizes = [1] * layers
    for _ in range(tasks - layers):
        sizes[rng.randrange(layers)] += 1
    result: list[tuple[str, str, float, list[str]]] = []
    before: list[str] = []
    for layer, size in enumerate(sizes):
        here = []
        for i in range(size):
            name = f"t{layer}_{i}"
            after = rng.sample(before, min(len(before), rng.randint(1, 3)))
            category = f"c{rng.randrange(max(2, layers // 2))}"
            result.append((name, category, round(min(7200.0, rng.lognormvariate(5.0, 0.8)), 1), after))
            here.append(name)
        before = here
    return Shape(f"Layered-{tasks}", result)


def problem(
    shape: Shape, seed: int = 0, regime: str = "autoscaling", limits: Limits | str = "loose", **objective: Any
) -> Problem:
    """Give each category cores, memory, GPUs and an image, by the seed."""
    rng = random.Random(seed * 7919 + 17)
    needs: dict[str, tuple[Needs, str]] = {}
    for category in sorted({c for _, c, _, _ in shape.tasks}):
        gpu = rng.random() < 0.15
        cores = rng.choice((1, 2, 4) if gpu else (1, 1, 2, 4, 8))
        needs[category] = (
            Needs(
                cores_per_task=cores, gpus_per_task=1 if gpu else 0, memory=rng.choice((0, 1024, 2048, 4096)) * cores
            ),
            f"image-{rng.randrange(3)}",
        )
    up, down = REGIMES[regime]
    steps = [
        Step(
            name=name,
            needs=needs[category][0],
            image=needs[category][1],
            duration=Duration(seconds=round(seconds, 3)),
            after=[Dependency(step=d) for d in after],
        )
        for name, category, seconds, after in shape.tasks
    ]
    return Problem(
        workflow=Workflow(name=shape.name, steps=steps),
        flavours={
            "cpu": Flavour(cores=8, memory=32768, price=0.4, bring_up=up, tear_down=down),
            "big": Flavour(cores=32, memory=131072, price=1.7, bring_up=up, tear_down=down),
            "gpu": Flavour(cores=8, memory=65536, gpus=2, price=2.5, bring_up=up, tear_down=down),
        },
        limits=LIMITS[limits] if isinstance(limits, str) else limits,
        objective=Objective(**objective),
    )
