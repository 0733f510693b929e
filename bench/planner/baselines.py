"""What others do, on the same model of nodes and limits: the planner is measured against these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

from streamflow_fluxop.model import Problem
from streamflow_fluxop.planning.construct.baselines import by_level, per_step, per_task, single
from streamflow_fluxop.planning.construct.fixed_clusters import FixedCluster, run_fixed
from streamflow_fluxop.planning.problem.instance import TICKS, Instance, compile_problem
from streamflow_fluxop.planning.result.schedule import Schedule

TARGET = 1800
"""Toil's default: seconds in which the nodes that it asks for are to have started what is queued."""
MOST_FOR_TOIL = 1100
"""Jobs up to which Toil's packing, which looks at each pair of job and node, is tried."""


def baselines(problem: Problem) -> Iterator[tuple[str, Callable[[], Schedule]]]:
    """The name and the schedule of each; a schedule raises UserError where the limits leave it no room."""
    instance = compile_problem(problem)
    yield "a task", lambda: per_task(instance)
    yield "a step", lambda: per_step(compile_problem(by_category(problem)))
    yield "all (one an image)", lambda: single(instance)
    yield "a level: PR 2174", lambda: by_level(instance)
    yield "PR 2174 without barrier, just in time", lambda: by_level(instance, barrier=False, ahead=True)
    if instance.jobs <= MOST_FOR_TOIL and find_spec("toil"):
        yield "Toil's bin packing", lambda: toil(instance)


def by_category(problem: Problem) -> Problem:
    """The problem with a group a category (and level of it): what a MiniCluster a scattered step is."""
    steps = [
        s.model_copy(update={"group": s.name.rsplit("_", 1)[0] + str(hash(s.needs)) + str(s.image)})
        for s in problem.workflow.steps
    ]
    return problem.model_copy(update={"workflow": problem.workflow.model_copy(update={"steps": steps})})


def toil(instance: Instance) -> Schedule:
    """Nodes as Toil's `binPacking` asks for them, for what is queued at each level, by image.

    Toil knows no GPUs in a shape: they stand in its `disk`. It has limits for each kind of node only, so
    MiniClusters that have no room under a common limit wait for each other.
    """
    from toil.provisioners.abstractProvisioner import Shape
    from toil.provisioners.clusterScaler import binPacking

    shapes = {
        f: Shape(TARGET, flavour.memory, flavour.cores, flavour.gpus, False)
        for f, flavour in enumerate(instance.flavours)
    }
    clusters: list[FixedCluster] = []
    number: dict[tuple[int, int], int] = {}
    queued: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for s, step in enumerate(instance.steps):
        kind = instance.kinds[step.kind]
        small = sorted(kind.feasible_flavours, key=lambda f: shapes[f])
        queued.setdefault((instance.levels[s], kind.sharing), []).append((s, small[0]))
    for (level, sharing), members in sorted(queued.items()):
        for flavour in sorted({f for _, f in members}):
            own = [s for s, f in members if f == flavour]
            jobs = []
            for s in own:
                step, fit = instance.steps[s], instance.kinds[instance.steps[s].kind].on(flavour)
                jobs += [Shape(step.ticks / TICKS, fit.memory, fit.cores, fit.gpus, False)] * step.width
            nodes, _ = binPacking([shapes[flavour]], jobs, TARGET)
            reach = instance.reach[flavour]
            size = max(1, nodes[shapes[flavour]] if reach is None else min(reach, nodes[shapes[flavour]]))
            number[level * len(instance.sharing_classes) + sharing, flavour] = len(clusters)
            clusters.append(FixedCluster(sharing, flavour, size, sum(instance.steps[s].width for s in own)))
    cluster_of = {
        s: number[level * len(instance.sharing_classes) + sharing, f]
        for (level, sharing), members in queued.items()
        for s, f in members
    }
    return run_fixed(instance, "toil", clusters, lambda s, _: cluster_of[s])
