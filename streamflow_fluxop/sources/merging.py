"""From single jobs to steps of many jobs, without a change to what waits for what.

Tools such as Snakemake know jobs only. Jobs of one rule that are alike become one step where a step can say what they
wait for: all for the same, or each for its own one. Where it can't, they stay steps of one job.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import networkx

from streamflow_fluxop.model import Dependency, Step


@dataclass(frozen=True)
class SingleJob:
    """One job.

    Attributes:
        name: unique.
        kind: jobs of one kind may become one step, if they are alike.
        step: needs, duration and the like; name, width and dependencies do not count.
        after: names of the jobs that it waits for.
    """

    name: str
    kind: str
    step: Step
    after: tuple[str, ...] = ()


def merge(jobs: list[SingleJob]) -> list[Step]:
    """The steps, in the order of their first jobs.

    Args:
        jobs: in any order.

    Raises:
        networkx.NetworkXUnfeasible: the jobs wait for each other in a circle.
    """
    groups = _alike(jobs)
    while True:
        steps, split = _try(jobs, groups)
        if not split:
            return steps
        for group in split:
            members = groups.pop(group)
            groups |= {(*group, name): [name] for name in members}


_Group = tuple[str, ...]
"""Kind and what else tells a group of jobs from others."""

_Pairs = dict[str, set[str]]
"""For each job of a group those of another group that it waits for."""


def _alike(jobs: list[SingleJob]) -> dict[_Group, list[str]]:
    groups: dict[_Group, list[str]] = defaultdict(list)
    for job in jobs:
        groups[job.kind, job.step.model_dump_json(exclude={"name", "width", "after"})].append(job.name)
    return dict(groups)


def _try(jobs: list[SingleJob], groups: dict[_Group, list[str]]) -> tuple[list[Step], set[_Group]]:
    """The steps that the groups make, and the groups that can't be steps."""
    group_of = {name: group for group, names in groups.items() for name in names}
    waits: dict[_Group, dict[_Group, _Pairs]] = {group: {} for group in groups}
    for job in jobs:
        for other in job.after:
            waits[group_of[job.name]].setdefault(group_of[other], defaultdict(set))[job.name].add(other)
    graph = networkx.DiGraph()
    graph.add_nodes_from(groups)
    graph.add_edges_from((other, group) for group, found in waits.items() for other in found)
    circles = [part for part in networkx.strongly_connected_components(graph) if len(part) > 1]
    circles += [{group} for group, found in waits.items() if group in found]
    if split := {group for part in circles for group in part if len(groups[group]) > 1}:
        return [], split
    order: dict[_Group, list[str]] = {}
    each: dict[_Group, dict[_Group, bool]] = {}
    ordered: list[_Group] = list(networkx.topological_sort(graph))
    for group in ordered:
        order[group], each[group] = list(groups[group]), {}
        for before, pairs in waits[group].items():
            if all(pairs.get(name) == set(groups[before]) for name in groups[group]):
                each[group][before] = False
                continue
            wanted = _one_for_one(pairs, order[before], len(groups[group]))
            if wanted is None or (any(each[group].values()) and wanted != order[group]):
                split |= {g for g in (group, before) if len(groups[g]) > 1}
            else:
                order[group], each[group][before] = wanted, True
    names, by_name = _names(groups), {j.name: j for j in jobs}
    steps = [
        by_name[members[0]].step.model_copy(
            update={
                "name": names[group],
                "width": len(members),
                "after": [Dependency(step=names[o], each=own) for o, own in each[group].items()],
            }
        )
        for group, members in groups.items()
    ]
    return steps, split


def _one_for_one(pairs: _Pairs, others: list[str], width: int) -> list[str] | None:
    """The jobs in the order of those that they wait for; None unless each waits for one that is its own."""
    own = {next(iter(found)): name for name, found in pairs.items() if len(found) == 1}
    return [own[name] for name in others] if len(own) == len(pairs) == len(others) == width else None


def _names(groups: dict[_Group, list[str]]) -> dict[_Group, str]:
    """The kind where it has one step only, else the kind with a number."""
    count: dict[str, int] = defaultdict(int)
    for group in groups:
        count[group[0]] += 1
    numbers: dict[str, int] = defaultdict(int)
    names = {}
    for group in groups:
        kind = group[0]
        numbers[kind] += 1
        names[group] = kind if count[kind] == 1 else f"{kind}_{numbers[kind]}"
    return names
