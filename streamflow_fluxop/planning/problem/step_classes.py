"""Step classes: the steps that a search decides about together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance


@dataclass(frozen=True, slots=True)
class StepClass:
    """Steps of one kind on one level of the graph. `work` is in job-ticks, `longest` in ticks."""

    kind: int
    level: int
    steps: tuple[int, ...]
    jobs: int
    work: int
    longest: int


def step_classes_of(instance: Instance) -> tuple[tuple[int, ...], tuple[StepClass, ...]]:
    """For each step the number of its step class (-1 for controller steps), and the step classes."""
    members: dict[tuple[int, int], list[int]] = {}
    for s, step in enumerate(instance.steps):
        if step.kind >= 0:
            members.setdefault((instance.levels[s], step.kind), []).append(s)
    of = [-1] * len(instance.steps)
    step_classes: list[StepClass] = []
    for (level, kind), steps in sorted(members.items()):
        for s in steps:
            of[s] = len(step_classes)
        data = [instance.steps[s] for s in steps]
        step_classes.append(
            StepClass(
                kind=kind,
                level=level,
                steps=tuple(steps),
                jobs=sum(s.width for s in data),
                work=sum(s.width * s.ticks for s in data),
                longest=max(s.ticks for s in data),
            )
        )
    return tuple(of), tuple(step_classes)
