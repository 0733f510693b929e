"""The workflow engine's part of a simulated run: which jobs may be asked for."""

from __future__ import annotations

from collections.abc import Mapping

from streamflow_fluxop.model import Step


class SimulatedEngine:
    """Asks for a job as soon as what it waits for is over.

    Args:
        steps: of the workflow, by name.
        widths: how many jobs each really has.
    """

    def __init__(self, steps: Mapping[str, Step], widths: Mapping[str, int]) -> None:
        self._steps, self._widths = steps, widths
        self._left = dict(widths)
        self._followers: dict[str, list[tuple[str, bool]]] = {name: [] for name in steps}
        self._waits: dict[str, int] = {}
        self._waits_each: dict[str, list[int]] = {}
        for name, s in steps.items():
            each = [d.step for d in s.after if d.each and widths[d.step] == widths[name]]
            self._waits[name] = len(s.after) - len(each)
            self._waits_each[name] = [len(each)] * widths[name]
            for d in s.after:
                self._followers[d.step].append((name, d.step in each))
        self._queue: list[tuple[str, int]] = []

    def first(self) -> list[tuple[str, int]]:
        """The jobs, by step and index, that wait for nothing."""
        self._queue = []
        for name in [n for n, waits in self._waits.items() if not waits]:
            self._open(name)
        return self._queue

    def _open(self, name: str) -> None:
        """All that the step's jobs wait for together is over."""
        if not self._widths[name]:
            self._over(name)
        self._queue += [(name, i) for i, waits in enumerate(self._waits_each[name]) if not waits]

    def _over(self, name: str) -> None:
        for follower, each in self._followers[name]:
            if not each:
                self._waits[follower] -= 1
                if not self._waits[follower]:
                    self._open(follower)

    def complete(self, step: str, index: int) -> list[tuple[str, int]]:
        """A job is over; the jobs that may be asked for now."""
        self._queue = []
        self._left[step] -= 1
        for follower, each in self._followers[step]:
            if each:
                self._waits_each[follower][index] -= 1
                if not self._waits_each[follower][index] and not self._waits[follower]:
                    self._queue.append((follower, index))
        if not self._left[step]:
            self._over(step)
        return self._queue

    def done(self) -> bool:
        """Whether all jobs are over."""
        return not any(self._left.values())

    def missing(self) -> list[str]:
        """The steps that are not."""
        return [name for name, left in self._left.items() if left]
