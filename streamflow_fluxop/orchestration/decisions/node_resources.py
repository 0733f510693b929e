"""What is free on the nodes of one MiniCluster: the fleet books them, so that a job runs where the plan wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from streamflow_fluxop.model import Flavour, Needs

Amount = tuple[int, int, int]
"""Cores, GPUs and MiB of memory."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a job takes of each node that it occupies; `alone`: nobody else may be there."""

    parts: tuple[Amount, ...]
    alone: bool = False


def load_of(needs: Needs, flavour: Flavour) -> Load | None:
    """How a job sits on nodes of a flavour: its tasks spread evenly, the first nodes fuller; None: it does not fit."""
    span = needs.nodes_on(flavour)
    if span is None:
        return None
    if needs.exclusive:
        return Load(((flavour.cores, flavour.gpus, flavour.memory),) * span, alone=True)
    parts = []
    for i in range(span):
        tasks = needs.tasks // span + (i < needs.tasks % span)
        memory = ceil(tasks * needs.memory / needs.tasks)
        parts.append((tasks * needs.cores_per_task, tasks * needs.gpus_per_task, memory))
    return Load(tuple(parts))


def share_of(part: Amount, whole: Amount) -> float:
    """How much of a node a part takes, by what it takes most of."""
    return max(p / w for p, w in zip(part, whole, strict=True) if w)


def nodes_worth(load: Load, flavour: Flavour) -> float:
    """How many nodes of a flavour a job is worth, by what it takes most of on each."""
    whole = (flavour.cores, flavour.gpus, flavour.memory)
    return sum(share_of(part, whole) for part in load.parts)


class NodeResources:
    """The nodes of a MiniCluster, by rank, and what is free on them.

    Args:
        flavour: of the nodes.

    Attributes:
        jobs: how many jobs are on each node.
    """

    def __init__(self, flavour: Flavour) -> None:
        self._empty = [flavour.cores, flavour.gpus, flavour.memory]
        self._free: list[list[int]] = []
        self._with: list[set[int]] = [set() for _ in range(flavour.cores + 1)]  # by how many cores are free
        self.jobs: list[int] = []

    def resize(self, size: int) -> None:
        """Nodes join at the end and leave from the end."""
        for rank in range(size, len(self._free)):
            self._with[self._free[rank][0]].discard(rank)
        del self._free[size:], self.jobs[size:]
        while len(self._free) < size:
            self._with[-1].add(len(self._free))
            self._free.append(list(self._empty))
            self.jobs.append(0)

    @property
    def spare(self) -> bool:
        """Whether a node has a core left."""
        return any(self._with[1:])

    def free_share(self, top: int) -> float:
        """How many nodes the free parts of those below `top` are worth."""
        return sum(
            min(f / w for f, w in zip(self._free[rank], self._empty, strict=True) if w)
            for ranks in self._with[1:]
            for rank in ranks
            if rank < top
        )

    def has_room(self, rank: int, part: Amount, alone: bool = False) -> bool:
        """Whether so much is free on a node."""
        free = self._free[rank]
        if alone and self.jobs[rank]:
            return False
        return free[0] >= part[0] and free[1] >= part[1] and free[2] >= part[2]

    def with_room(self, part: Amount, top: int, alone: bool = False) -> list[int]:
        """The nodes below `top` on which so much is free, in order."""
        ranks = (rank for ranks in self._with[part[0] :] for rank in ranks)
        return sorted(rank for rank in ranks if rank < top and self.has_room(rank, part, alone))

    def find(
        self,
        load: Load,
        wanted: Sequence[int],
        top: int,
        keeper: Callable[[int], object] | None = None,
        *,
        promised: bool = False,
    ) -> tuple[int, ...] | None:
        """Nodes for a job: the wanted ones if there is room, else the first ones with room.

        Args:
            load: of the job.
            wanted: ranks that the plan has for it, or none.
            top: nodes from this rank on are not to be used.
            keeper: says of a rank for what it is kept, None where it may be used; None: all may.
            promised: the wanted ones may be used in any case.

        Returns:
            A rank for each part of the load, all different; None where there is no room now.
        """
        parts, alone = load.parts, load.alone
        if len(wanted) == len(parts) and all(
            r < top and self.has_room(r, p, alone) and (promised or keeper is None or keeper(r) is None)
            for r, p in zip(wanted, parts, strict=True)
        ):
            return tuple(wanted)
        found: list[int] = []
        for rank in self.with_room(parts[-1], top, alone):
            if self.has_room(rank, parts[len(found)], alone) and (keeper is None or keeper(rank) is None):
                found.append(rank)
                if len(found) == len(parts):
                    return tuple(found)
        return None

    def take(self, load: Load, ranks: Sequence[int]) -> None:
        """Book nodes that `find` found."""
        self._book(load, ranks, 1)

    def give(self, load: Load, ranks: Sequence[int]) -> None:
        """Give back what `take` took."""
        self._book(load, ranks, -1)

    def _book(self, load: Load, ranks: Sequence[int], sign: int) -> None:
        for rank, part in zip(ranks, load.parts, strict=True):
            free = self._free[rank]
            self._with[free[0]].discard(rank)
            for i, amount in enumerate(part):
                free[i] -= sign * amount
            self.jobs[rank] += sign
            self._with[free[0]].add(rank)
