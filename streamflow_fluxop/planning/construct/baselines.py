"""The simple strategies: the two extremes of the article, and the level rule of Snakemake PR 2174.

None looks ahead: a MiniCluster is asked for when its first job is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.planning.construct.fixed_clusters import Site, run_fixed
from streamflow_fluxop.planning.construct.packing import nodes_for

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import Schedule


def per_task(instance: Instance) -> Schedule:
    """A MiniCluster for each job (for each group, where the user named groups)."""
    sites, groups = _group_sites(instance)
    first: dict[int, int] = {}
    for s, step in enumerate(instance.steps):
        if step.kind < 0 or instance.kinds[step.kind].pool in groups:
            continue
        kind, flavour = instance.kinds[step.kind], instance.cheapest[step.kind]
        first[s] = len(sites)
        sites += [Site(kind.pool, flavour, kind.on(flavour).nodes, 1) for _ in range(step.width)]

    def site_of(step: int, job: int) -> int:
        return first[step] + job if step in first else groups[instance.kinds[instance.steps[step].kind].pool]

    return run_fixed(instance, "per-task", sites, site_of)


def per_step(instance: Instance) -> Schedule:
    """A MiniCluster for each step, as large as all of its jobs need side by side, or as the limits allow."""
    sites, groups = _group_sites(instance)
    number = [-1] * len(instance.steps)
    for s, step in enumerate(instance.steps):
        if step.kind < 0:
            continue
        kind, flavour = instance.kinds[step.kind], instance.cheapest[step.kind]
        if kind.pool in groups:
            number[s] = groups[kind.pool]
            continue
        number[s] = len(sites)
        size = _within(instance, flavour, nodes_for(instance, flavour, {step.kind: step.width}))
        sites.append(Site(kind.pool, flavour, size, step.width))
    return run_fixed(instance, "per-step", sites, lambda s, _: number[s])


def single(instance: Instance, share: float = 1.0) -> Schedule:
    """One MiniCluster for all steps, or one for each image where there are several, from the first job to the last.

    Args:
        instance: the problem.
        share: of the nodes that the widest level needs.

    Raises:
        UserError: no flavour holds all steps of an image, or the limits don't hold all images' MiniClusters at once.
    """
    sites = single_sites(instance, share)
    return run_fixed(instance, "single", sites, lambda s, _: instance.kinds[instance.steps[s].kind].pool)


def single_sites(instance: Instance, share: float = 1.0) -> list[Site]:
    """The MiniClusters of `single`, one a pool."""
    flavours = {p: _common(instance, p) for p in range(len(instance.pools))}
    wanted = dict.fromkeys(flavours, 1)
    least = dict.fromkeys(flavours, 1)
    for level in _levels(instance).values():
        for p, flavour in flavours.items():
            jobs = {k: n for k, n in level.items() if instance.kinds[k].pool == p}
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
    return [Site(p, flavours[p], size, _jobs(instance, p), keep=True) for p, size in enumerate(sizes)]


def by_level(instance: Instance, *, barrier: bool = True, ahead: bool = False) -> Schedule:
    """Level by level, a MiniCluster for each image, flavour and number of nodes, used again where all three are equal.

    The rule of Snakemake's pull request 2174, made fair: where the limits are too tight for a level it gets smaller
    MiniClusters (the original raises the limit).

    Args:
        instance: the problem.
        barrier: a level starts when the one before is over, as there.
        ahead: bring up before the first job is ready, unlike there.
    """
    sites, groups = _group_sites(instance)
    keys: dict[tuple[int, int, int], int] = {}
    number: dict[tuple[int, int], int] = {}
    for level, jobs in sorted(_levels(instance).items()):
        wanted: dict[tuple[int, int], dict[int, int]] = {}
        for k, n in jobs.items():
            if instance.kinds[k].pool not in groups:
                wanted.setdefault((instance.kinds[k].pool, instance.cheapest[k]), {})[k] = n
        if not wanted:
            continue
        places = list(wanted)
        most = [nodes_for(instance, f, wanted[p, f]) for p, f in places]
        least = [max(instance.kinds[k].on(f).nodes for k in wanted[p, f]) for p, f in places]
        sizes = _shrunk(instance, places, most, least)
        if sizes is None:
            sizes = [_within(instance, f, n) for (_, f), n in zip(places, least, strict=True)]
        for (p, f), size in zip(places, sizes, strict=True):
            site = keys.setdefault((p, f, size), len(sites))
            if site == len(sites):
                sites.append(Site(p, f, size, 0))
            for k, n in wanted[p, f].items():
                number[level, k] = site
                sites[site].jobs += n

    def site_of(step: int, job: int) -> int:
        kind = instance.steps[step].kind
        pool = instance.kinds[kind].pool
        return groups[pool] if pool in groups else number[instance.levels[step], kind]

    name = "by-level" if barrier else "by-level-ahead" if ahead else "by-level-no-barrier"
    return run_fixed(instance, name, sites, site_of, ahead=ahead, barrier=barrier)


def _levels(instance: Instance) -> dict[int, dict[int, int]]:
    """For each level the jobs of each kind."""
    levels: dict[int, dict[int, int]] = {}
    for s, step in enumerate(instance.steps):
        if step.kind >= 0:
            jobs = levels.setdefault(instance.levels[s], {})
            jobs[step.kind] = jobs.get(step.kind, 0) + step.width
    return levels


def _jobs(instance: Instance, pool: int) -> int:
    return sum(s.width for s in instance.steps if s.kind >= 0 and instance.kinds[s.kind].pool == pool)


def _common(instance: Instance, pool: int) -> int:
    """The cheapest flavour that holds all steps of a pool."""
    kinds = [k for k in instance.kinds if k.pool == pool]
    common = set(kinds[0].wishes).intersection(*(k.wishes for k in kinds))
    if not common:
        image, group = instance.pools[pool].image, instance.pools[pool].group
        which = f" of group {group}" if group else f" with image {image}" if image else ""
        raise UserError(
            f"no one flavour suits all steps{which}",
            where="strategy single",
            fix="add a flavour that is large enough for all of them, or take another strategy",
        )
    work: dict[int, float] = dict.fromkeys(common, 0.0)
    for step in instance.steps:
        if step.kind >= 0 and instance.kinds[step.kind].pool == pool:
            for f in common:
                share = instance.kinds[step.kind].on(f).share
                work[f] += step.width * (step.ticks + 1) * share * instance.flavours[f].price
    return min(common, key=lambda f: (work[f], f))


def _group_sites(instance: Instance) -> tuple[list[Site], dict[int, int]]:
    """A site for each group, and its number by pool."""
    sites: list[Site] = []
    groups: dict[int, int] = {}
    for p, pool in enumerate(instance.pools):
        if pool.group is None:
            continue
        flavour = _common(instance, p)
        size = 1
        for level in _levels(instance).values():
            jobs = {k: n for k, n in level.items() if instance.kinds[k].pool == p}
            if jobs:
                size = max(size, nodes_for(instance, flavour, jobs))
        groups[p] = len(sites)
        sites.append(Site(p, flavour, _within(instance, flavour, size), _jobs(instance, p), keep=True))
    return sites, groups


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
