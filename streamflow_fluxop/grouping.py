"""Which steps share a MiniCluster, and how large it is: the simplest rule that works.

One group a set of steps with equal flavour, image and binding; each step on the cheapest flavour that
meets its needs; each MiniCluster as large as its busiest level can use, within the limits. The planner
(`streamflow_fluxop.planning`) does better, and gives the same answer in the same form.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import ceil

import networkx

from streamflow_fluxop.config.fleet import FleetConfig, GroupConfig
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.model import Flavour, Limits, Needs, Plan, Step


@dataclass(frozen=True)
class Group:
    """The steps that share one MiniCluster of `size` nodes of one flavour with one image.

    Attributes:
        max_size: nodes that it may grow to; None: it keeps its size.
        binding: only steps with equal bindings share it.
        named: the group that the user named, if it is for one.
    """

    name: str
    flavour: str
    size: int
    image: str | None
    steps: tuple[str, ...] = ()
    max_size: int | None = None
    binding: str = ""
    named: str | None = None


def group_steps(steps: Iterable[Step], config: FleetConfig, places: Mapping[str, str] | None = None) -> list[Group]:
    """Give every step its group.

    Args:
        steps: of one deployment, in topological order or not; `controller` steps are passed over. `Step.binding`
            names a flavour or a group of the configuration, or is empty.
        config: the fleet's configuration.
        places: where each step's needs are written, by name, for messages.

    Returns:
        The groups in the order of their first steps. Each fits into the limits when it is up alone.

    Raises:
        UserErrors: a step that no flavour or group suits, each with its place and what would be right.
    """
    members: dict[_Key, list[Step]] = defaultdict(list)
    order = [s for s in steps if not s.controller]
    errors = []
    for step in order:
        key = _share(step, order, config)
        if isinstance(key, UserError):
            errors.append(UserError(key.what, where=(places or {}).get(step.name, step.name), fix=key.fix))
        else:
            members[key].append(step)
    if errors:
        raise UserErrors(errors)
    names = _names(members)
    return [
        Group(
            name=names[key],
            flavour=key[0],
            size=_size(jobs, order, config.flavours[key[0]], config.limits, config.groups.get(names[key])),
            image=key[1],
            steps=tuple(s.name for s in jobs),
            named=names[key] if names[key] in config.groups else None,
        )
        for key, jobs in members.items()
    ]


def planned_groups(plan: Plan, open_ended: Collection[str] = ()) -> list[Group]:
    """A group a MiniCluster of a plan.

    Args:
        plan: the plan.
        open_ended: steps that only the run tells how often they run: their MiniClusters may grow beyond the plan.
    """
    vague = {s.name for s in plan.problem.workflow.steps if s.width_source in ("assumed", "hint")} | set(open_ended)
    groups = []
    for m in plan.miniclusters:
        most = m.max_size
        if vague.intersection(m.steps):
            most = max(most, plan.problem.limits.nodes_of(plan.problem.flavours[m.flavour]) or 4 * most)
        groups.append(
            Group(
                name=m.name,
                flavour=m.flavour,
                size=m.size,
                image=m.image,
                steps=tuple(m.steps),
                max_size=most,
                binding=m.binding,
                named=m.group,
            )
        )
    return groups


def cheapest_flavour(needs: Needs, config: FleetConfig, among: Iterable[str] = ()) -> str | None:
    """The flavour on which a job with these needs costs least; None where it fits on none within the limits.

    Ties go to the flavour with fewer GPUs, then fewer cores, then the one that is written first.
    """

    def cost(name: str) -> tuple[float, int, int]:
        flavour = config.flavours[name]
        nodes = needs.nodes_on(flavour) or 0
        return (nodes * flavour.price, nodes * flavour.gpus, nodes * flavour.cores)

    fitting = [n for n in among or config.flavours if fits(needs, config.flavours[n], config.limits)]
    return min(fitting, key=cost, default=None)


def usual_flavours(needs: Needs, config: FleetConfig) -> list[str]:
    """The flavours that a job with these needs goes to if it names none: no GPUs for jobs that need none.

    Nodes with GPUs are among them where the job needs GPUs, where it fits on no other nodes, or where their flavour
    takes such jobs (`jobs_without_gpus`).
    """
    if needs.gpus_per_task:
        return list(config.flavours)
    plain = [n for n, f in config.flavours.items() if not f.gpus or f.jobs_without_gpus]
    return plain if any(fits(needs, config.flavours[n], config.limits) for n in plain) else list(config.flavours)


def fits(needs: Needs, flavour: Flavour, limits: Limits) -> bool:
    """Whether a MiniCluster of this flavour, as large as the limits allow, can run a job with these needs."""
    nodes, most = needs.nodes_on(flavour), limits.nodes_of(flavour)
    return nodes is not None and (most is None or nodes <= most)


_Key = tuple[str, str | None, str]
"""Flavour, image, and what keeps a group apart from others with the same."""


def _share(step: Step, steps: list[Step], config: FleetConfig) -> _Key | UserError:
    """The key of a step's group, or why it has none."""
    group = _named_group(step, config)
    known = {*config.groups, *(s.group for s in steps if s.group)}
    if group and group == step.binding and group not in known:
        return UserError(
            f"service {group!r} is neither a flavour nor a group",
            fix=f"The flavours are: {', '.join(config.flavours)}; the groups: {', '.join(sorted(known)) or 'none'}.",
        )
    if group is None:
        flavour = _flavour_of([step], config)
        return flavour if isinstance(flavour, UserError) else (flavour, config.images(step)["image"], step.binding)
    defined = config.groups.get(group)
    peers = [s for s in steps if _named_group(s, config) == group]
    images = {config.images(s, group)["image"] for s in peers}
    if len(images) > 1:
        return UserError(
            f"the steps of group {group!r} have different images: {', '.join(sorted(str(i) for i in images))}",
            fix="Steps of one group run in one MiniCluster with one image: give them equal images, or other groups.",
        )
    flavour = _flavour_of(peers, config, defined)
    return flavour if isinstance(flavour, UserError) else (flavour, images.pop(), group)


def _named_group(step: Step, config: FleetConfig) -> str | None:
    return step.group or (step.binding if step.binding not in config.flavours and step.binding else None)


def _flavour_of(steps: list[Step], config: FleetConfig, defined: GroupConfig | None = None) -> str | UserError:
    """The cheapest flavour on which every one of `steps` fits."""
    step = steps[0]
    wishes = [w for s in steps for w in (s.flavours, [s.binding] if s.binding in config.flavours else []) if w]
    if unknown := [f for wish in wishes for f in wish if f not in config.flavours]:
        return UserError(f"no flavour {unknown[0]!r}", fix=f"The flavours are: {', '.join(config.flavours)}.")
    usual = usual_flavours(step.needs, config) if len(steps) == 1 and not wishes else list(config.flavours)
    allowed = [f for f in ([defined.flavour] if defined else usual) if all(f in wish for wish in wishes)]
    if not allowed:
        wanted = "; ".join(" or ".join(wish) for wish in wishes)
        return UserError(f"no flavour is all of what is wanted: {wanted}", fix="Let hint, binding and group agree.")
    good = [f for f in allowed if all(fits(s.needs, config.flavours[f], config.limits) for s in steps)]
    chosen = cheapest_flavour(step.needs, config, good) if good else None
    if chosen is None:
        worst = next(
            (s for s in steps if not any(fits(s.needs, config.flavours[f], config.limits) for f in allowed)), step
        )
        return UserError(
            f"no flavour meets the needs of step {worst.name}: {worst.needs.in_words()}",
            fix=_what_would_fit(worst.needs, {f: config.flavours[f] for f in allowed}, config.limits),
        )
    return chosen


def _what_would_fit(needs: Needs, flavours: Mapping[str, Flavour], limits: Limits) -> str:
    reasons = []
    for name, flavour in flavours.items():
        nodes = needs.nodes_on(flavour)
        if nodes is None:
            gpus = f", {flavour.gpus} GPUs" if flavour.gpus or needs.gpus_per_task else ""
            reasons.append(f"{name} has {flavour.cores} cores{gpus}, {flavour.memory} MiB a node")
        else:
            reasons.append(f"{name} would need {nodes} nodes, the limits allow {limits.nodes_of(flavour)}")
    return "; ".join(reasons) + ". Ask for less, or add a flavour or a limit that is large enough."


def _names(keys: Iterable[_Key]) -> dict[_Key, str]:
    """A name a group: its own, else its flavour's, with a number where that is taken."""
    names: dict[_Key, str] = {}
    taken = {key[2] for key in keys if key[2] and key[2] != key[0]}
    for key in keys:
        flavour, _, binding = key
        if binding and binding != flavour:
            names[key] = binding
            continue
        name, count = flavour, 1
        while name in taken:
            count += 1
            name = f"{flavour}-{count}"
        taken.add(name)
        names[key] = name
    return names


def _size(jobs: list[Step], steps: list[Step], flavour: Flavour, limits: Limits, defined: GroupConfig | None) -> int:
    least = max(s.needs.nodes_on(flavour) or 1 for s in jobs)
    if defined and defined.size:
        return max(defined.size, least)
    levels: dict[int, float] = defaultdict(float)
    depth = _depths(steps)
    for step in jobs:
        levels[depth[step.name]] += _nodes_used(step, flavour)
    most = limits.nodes_of(flavour)
    useful = ceil(max(levels.values()))
    return max(least, useful if most is None else min(useful, most))


def _nodes_used(step: Step, flavour: Flavour) -> float:
    """How many nodes all jobs of a step occupy when they run at once; parts of nodes count as such."""
    nodes = step.needs.nodes_on(flavour) or 1
    if nodes > 1 or step.needs.exclusive:
        return nodes * step.width
    return step.width / max(1, step.needs.tasks_per_node(flavour) // step.needs.tasks)


def _depths(steps: list[Step]) -> dict[str, int]:
    """The level of each step: the length of the longest chain of steps before it."""
    graph = networkx.DiGraph()
    graph.add_nodes_from(s.name for s in steps)
    names = set(graph)
    graph.add_edges_from((d.step, s.name) for s in steps for d in s.after if d.step in names)
    return {name: level for level, layer in enumerate(networkx.topological_generations(graph)) for name in layer}
