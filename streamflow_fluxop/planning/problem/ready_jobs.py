"""Which jobs may start, as others end: the frontier of the dependency graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance

Range = tuple[int, int, int]
"""Consecutive jobs of a step: the step, the first job, how many."""


class ReadyJobs:
    """Counts what each job still waits for.

    A step that waits for another waits for all of its jobs, or job by job for the one with its own index.

    Attributes:
        left: for each step how many of its jobs are not over.

    Args:
        instance: the problem.
    """

    __slots__ = ("_each", "_steps", "_whole", "_widths", "left")

    def __init__(self, instance: Instance) -> None:
        self._steps = instance.steps
        self._widths = instance.widths
        self._whole = list(instance.predecessor_counts)
        self._each = [
            [n] * width if n else None
            for n, width in zip(instance.predecessor_counts_each, instance.widths, strict=True)
        ]
        self.left = list(instance.widths)

    def first(self) -> list[Range]:
        """The jobs that wait for nothing."""
        return [(s, 0, step.width) for s, step in enumerate(self._steps) if not step.before]

    def over(self, step: int, first: int, count: int) -> list[Range]:
        """Jobs are over; those that wait for nothing any more."""
        ready: list[Range] = []
        self.left[step] = left = self.left[step] - count
        for t, each in self._steps[step].after:
            if each:
                counts = self._each[t]
                assert counts is not None
                for job in range(first, first + count):
                    counts[job] -= 1
                if not self._whole[t]:
                    self._open(t, counts, first, first + count, ready)
            elif not left:
                self._whole[t] = whole = self._whole[t] - 1
                if not whole:
                    counts = self._each[t]
                    if counts is None:
                        ready.append((t, 0, self._widths[t]))
                    else:
                        self._open(t, counts, 0, self._widths[t], ready)
        return ready

    def _open(self, step: int, counts: list[int], first: int, end: int, ready: list[Range]) -> None:
        """Add the jobs of a range that wait for nothing more, as few ranges as possible, each job once."""
        job = first
        while job < end:
            if counts[job]:
                job += 1
                continue
            begin = job
            while job < end and not counts[job]:
                counts[job] = -1
                job += 1
            ready.append((step, begin, job - begin))
