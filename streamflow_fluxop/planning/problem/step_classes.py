"""Stages: the steps that a search decides about together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps of one kind on one level of the graph. `work` is in job-ticks, `longest` in ticks."""

    kind: int
    level: int
    steps: tuple[int, ...]
    jobs: int
    work: int
    longest: int


def stages_of(instance: Instance) -> tuple[tuple[int, ...], tuple[Stage, ...]]:
    """For each step the number of its stage (-1 for controller steps), and the stages."""
    members: dict[tuple[int, int], list[int]] = {}
    for s, step in enumerate(instance.steps):
        if step.kind >= 0:
            members.setdefault((instance.levels[s], step.kind), []).append(s)
    of = [-1] * len(instance.steps)
    stages: list[Stage] = []
    for (level, kind), steps in sorted(members.items()):
        for s in steps:
            of[s] = len(stages)
        data = [instance.steps[s] for s in steps]
        stages.append(
            Stage(
                kind=kind,
                level=level,
                steps=tuple(steps),
                jobs=sum(s.width for s in data),
                work=sum(s.width * s.ticks for s in data),
                longest=max(s.ticks for s in data),
            )
        )
    return tuple(of), tuple(stages)
