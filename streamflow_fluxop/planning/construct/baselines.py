"""The simple strategies: the two extremes of the article, and the level rule of Snakemake PR 2174.

None looks ahead: a MiniCluster is asked for when its first job is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.fixed_clusters import FixedCluster, run_fixed
from streamflow_fluxop.planning.construct.packing import nodes_for

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule


def per_task(instance: Instance) -> Schedule:
    """A MiniCluster for each job (for each group, where the user named groups)."""
    clusters, groups = _group_clusters(instance)
    first: dict[int, int] = {}
    for s, step in enumerate(instance.steps):
        if step.kind < 0 or instance.kinds[step.kind].sharing in groups:
            continue
        kind, flavour = instance.kinds[step.kind], instance.cheapest[step.kind]
        first[s] = len(clusters)
        clusters += [FixedCluster(kind.sharing, flavour, kind.on(flavour).nodes, 1) for _ in range(step.width)]

    def cluster_of(step: int, job: int) -> int:
        return first[step] + job if step in first else groups[instance.kinds[instance.steps[step].kind].sharing]

    return run_fixed(instance, "per-task", clusters, cluster_of)


def per_step(instance: Instance) -> Schedule:
    """A MiniCluster for each step, as large as all of its jobs need side by side, or as the limits allow."""
    clusters, groups = _group_clusters(instance)
    number = [-1] * len(instance.steps)
    for s, step in enumerate(instance.steps):
        if step.kind < 0:
            continue
        kind, flavour = instance.kinds[step.kind], instance.cheapest[step.kind]
        if kind.sharing in groups:
            number[s] = groups[kind.sharing]
            continue
        number[s] = len(clusters)
        size = _within(instance, flavour, nodes_for(instance, flavour, {step.kind: step.width}))
        clusters.append(FixedCluster(kind.sharing, flavour, size, step.width))
    return run_fixed(instance, "per-step", clusters, lambda s, _: number[s])


def single(instance: Instance, share: float = 1.0) -> Schedule:
    """One MiniCluster for all steps, or one for each image where there are several, from the first job to the last.

    Args:
        instance: the problem.
        share: of the nodes that the widest level needs.

    Raises:
        UserError: no flavour holds all steps of an image, or the limits don't hold all images' MiniClusters at once.
    """
    clusters = single_clusters(instance, share)
    return run_fixed(instance, "single", clusters, lambda s, _: instance.kinds[instance.steps[s].kind].sharing)


def single_clusters(instance: Instance, share: float = 1.0) -> list[FixedCluster]:
    """The MiniClusters of `single`, one a sharing class."""
    flavours = {p: _common(instance, p) for p in range(len(instance.sharing_classes))}
    wanted = dict.fromkeys(flavours, 1)
    least = dict.fromkeys(flavours, 1)
    for level in _levels(instance).values():
        for p, flavour in flavours.items():
            jobs = {k: n for k, n in level.items() if instance.kinds[k].sharing == p}
            if jobs:
                wanted[p] = max(wanted[p], nodes_for(instance, flavour, jobs))
                least[p] = max(least[p], *(instance.kinds[k].on(flavour).nodes for k in jobs))
    keys = list(flavours.items())
    sizes = _shrunk(
        instance, keys, [max(least[p], round(wanted[p] * share)) for p in flavours], [least[p] for p in flavours]
    )
    if sizes is None:
        raise UserError(
            "the limits leave no room for a MiniCluster for each image at the same time",
            where="limits",
            fix="raise the limits, or take another strategy",
        )
    return [FixedCluster(p, flavours[p], size, _jobs(instance, p), keep=True) for p, size in enumerate(sizes)]


def by_level(instance: Instance, *, barrier: bool = True, ahead: bool = False) -> Schedule:
    """Level by level, a MiniCluster for each image, flavour and number of nodes, used again where all three are equal.

    The rule of Snakemake's pull request 2174, made fair: where the limits are too tight for a level it gets smaller
    MiniClusters (the original raises the limit).

    Args:
        instance: the problem.
        barrier: a level starts when the one before is over, as there.
        ahead: bring up before the first job is ready, unlike there.
    """
    clusters, groups = _group_clusters(instance)
    keys: dict[tuple[int, int, int], int] = {}
    number: dict[tuple[int, int], int] = {}
    for level, jobs in sorted(_levels(instance).items()):
        wanted: dict[tuple[int, int], dict[int, int]] = {}
        for k, n in jobs.items():
            if instance.kinds[k].sharing not in groups:
                wanted.setdefault((instance.kinds[k].sharing, instance.cheapest[k]), {})[k] = n
        if not wanted:
            continue
        places = list(wanted)
        most = [nodes_for(instance, f, wanted[p, f]) for p, f in places]
        least = [max(instance.kinds[k].on(f).nodes for k in wanted[p, f]) for p, f in places]
        sizes = _shrunk(instance, places, most, least)
        if sizes is None:
            sizes = [_within(instance, f, n) for (_, f), n in zip(places, least, strict=True)]
        for (p, f), size in zip(places, sizes, strict=True):
            cluster = keys.setdefault((p, f, size), len(clusters))
            if cluster == len(clusters):
                clusters.append(FixedCluster(p, f, size, 0))
            for k, n in wanted[p, f].items():
                number[level, k] = cluster
                clusters[cluster].jobs += n

    def cluster_of(step: int, job: int) -> int:
        kind = instance.steps[step].kind
        sharing = instance.kinds[kind].sharing
        return groups[sharing] if sharing in groups else number[instance.levels[step], kind]

    name = "by-level" if barrier else "by-level-ahead" if ahead else "by-level-no-barrier"
    return run_fixed(instance, name, clusters, cluster_of, ahead=ahead, barrier=barrier)


def _levels(instance: Instance) -> dict[int, dict[int, int]]:
    """For each level the jobs of each kind."""
    levels: dict[int, dict[int, int]] = {}
    for s, step in enumerate(instance.steps):
        if step.kind >= 0:
            jobs = levels.setdefault(instance.levels[s], {})
            jobs[step.kind] = jobs.get(step.kind, 0) + step.width
    return levels


def _jobs(instance: Instance, sharing: int) -> int:
    return sum(s.width for s in instance.steps if s.kind >= 0 and instance.kinds[s.kind].sharing == sharing)


def _common(instance: Instance, sharing: int) -> int:
    """The cheapest flavour that holds all steps of a sharing class."""
    kinds = [k for k in instance.kinds if k.sharing == sharing]
    common = set(kinds[0].feasible_flavours).intersection(*(k.feasible_flavours for k in kinds))
    if not common:
        image, group = instance.sharing_classes[sharing].image, instance.sharing_classes[sharing].group
        which = f" of group {group}" if group else f" with image {image}" if image else ""
        raise UserError(
            f"no one flavour suits all steps{which}",
            where="strategy single",
            fix="add a flavour that is large enough for all of them, or take another strategy",
        )
    work: dict[int, float] = dict.fromkeys(common, 0.0)
    for step in instance.steps:
        if step.kind >= 0 and instance.kinds[step.kind].sharing == sharing:
            for f in common:
                share = instance.kinds[step.kind].on(f).share
                work[f] += step.width * (step.ticks + 1) * share * instance.flavours[f].price
    return min(common, key=lambda f: (work[f], f))


def _group_clusters(instance: Instance) -> tuple[list[FixedCluster], dict[int, int]]:
    """A cluster for each group, and its number by sharing class."""
    clusters: list[FixedCluster] = []
    groups: dict[int, int] = {}
    for p, sharing in enumerate(instance.sharing_classes):
        if sharing.group is None:
            continue
        flavour = _common(instance, p)
        size = 1
        for level in _levels(instance).values():
            jobs = {k: n for k, n in level.items() if instance.kinds[k].sharing == p}
            if jobs:
                size = max(size, nodes_for(instance, flavour, jobs))
        groups[p] = len(clusters)
        clusters.append(FixedCluster(p, flavour, _within(instance, flavour, size), _jobs(instance, p), keep=True))
    return clusters, groups


def _within(instance: Instance, flavour: int, size: int) -> int:
    reach = instance.reach[flavour]
    return size if reach is None else min(size, reach)


def _shrunk(instance: Instance, keys: list[tuple[int, int]], most: list[int], least: list[int]) -> list[int] | None:
    """Sizes that fit within the limits side by side: `most` times a common factor; None if not even `least` does."""

    def fits(sizes: list[int]) -> bool:
        return all(
            sum(n * instance.flavours[f].weight[r] for (_, f), n in zip(keys, sizes, strict=True)) <= capacity + 1e-9
            for r, capacity in enumerate(instance.capacity)
        )

    if instance.max_miniclusters is not None and len(keys) > instance.max_miniclusters:
        return None
    if fits(most):
        return most
    if not fits(least):
        return None
    low, high = 0.0, 1.0
    sizes = least
    for _ in range(30):
        middle = (low + high) / 2
        tried = [max(a, int(b * middle)) for a, b in zip(least, most, strict=True)]
        if fits(tried):
            low, sizes = middle, tried
        else:
            high = middle
    return sizes
