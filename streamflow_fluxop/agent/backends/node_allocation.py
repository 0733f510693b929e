"""Which nodes a job gets: the rules, and the words of refusal, of Flux's default scheduler.

They are those of ``flux.resource.Rv1Pool`` (flux-core 0.88) behind sched-simple, without constraints and ranges: the
emptiest nodes first, as few as hold the job's slots; a slot (one task with its cores and GPUs) never spans nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest


class Unsatisfiable(Exception):
    """No empty set of these nodes could hold the job."""


@dataclass(frozen=True)
class Share:
    """What a job holds of one node: `tasks` of its tasks run there."""

    node: int
    tasks: int
    cores: frozenset[int]
    gpus: frozenset[int]


class NodeAllocator:
    """The nodes and what is free on them.

    Args:
        sizes: cores and GPUs of each node.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        self._sizes = list(sizes)
        self._cores = [set(range(cores)) for cores, _ in sizes]
        self._gpus = [set(range(gpus)) for _, gpus in sizes]

    def allocate(self, request: JobRequest) -> list[Share] | None:
        """Take what the job needs, in the order of the nodes; None where that is not free now.

        Raises:
            Unsatisfiable: it never will be.
        """
        wanted = self._nodes_wanted(request)
        order = sorted(
            [n for n in range(len(self._sizes)) if n in request.ranks] if request.ranks else range(len(self._sizes)),
            key=lambda node: (len(self._cores[node]), len(self._gpus[node])),
            reverse=True,
        )
        shares = self._slots(request, order) if wanted is None else self._whole(request, order, wanted)
        if shares is None:
            self.check(request)
            return None
        shares.sort(key=lambda share: share.node)
        for share in shares:
            self._cores[share.node] -= share.cores
            self._gpus[share.node] -= share.gpus
        return shares

    def free(self, shares: Sequence[Share]) -> None:
        """Give back what `allocate` took."""
        for share in shares:
            self._cores[share.node] |= share.cores
            self._gpus[share.node] |= share.gpus

    def check(self, request: JobRequest) -> None:
        """Refuse what all nodes, or those that the job may run on, could not hold if they were empty.

        Raises:
            Unsatisfiable: with Flux's words.
        """
        sizes = [self._sizes[n] for n in request.ranks if n < len(self._sizes)] if request.ranks else self._sizes
        cores, gpus = request.cores_per_task, request.gpus_per_task
        wanted = self._nodes_wanted(request)
        if wanted is not None:
            slots = -(-request.tasks // wanted)
            if request.exclusive:  # whole nodes, of which the tasks then may use all
                eligible = sum(c >= slots * cores and g >= slots * gpus for c, g in sizes)
                if eligible < wanted:
                    raise Unsatisfiable(
                        f"unsatisfiable request: need {wanted} exclusive node(s), only {eligible} eligible"
                    )
                return
            eligible = sum(c >= slots * cores and g >= slots * gpus for c, g in sizes)
            if eligible < wanted:
                with_gpus = f" and {slots * gpus} GPUs" if gpus else ""
                raise Unsatisfiable(
                    f"unsatisfiable request: need {wanted} node(s) with {slots * cores} cores{with_gpus} each, "
                    f"only {eligible} eligible"
                )
            return
        slots = sum(c // cores for c, _ in sizes)
        if slots < request.tasks:
            total = sum(c for c, _ in sizes)
            raise Unsatisfiable(
                f"unsatisfiable request: need {request.tasks} slot(s) of {cores} core(s), "
                f"only {slots} such slot(s) available (total cores: {total})"
            )
        if gpus:
            slots = sum(min(c // cores, g // gpus) for c, g in sizes)
            if slots < request.tasks:
                total = sum(g for _, g in sizes)
                raise Unsatisfiable(
                    f"unsatisfiable request: need {request.tasks} slot(s) with {gpus} GPU(s) each, "
                    f"only {slots} available (total GPUs: {total})"
                )

    def _nodes_wanted(self, request: JobRequest) -> int | None:
        return nodes_wanted(request, max(self._sizes, default=(0, 0)))

    def _slots(self, request: JobRequest, order: Sequence[int]) -> list[Share] | None:
        cores, gpus = request.cores_per_task, request.gpus_per_task
        missing = request.tasks
        shares = []
        for node in order:
            fit = len(self._cores[node]) // cores
            if gpus:
                fit = min(fit, len(self._gpus[node]) // gpus)
            tasks = min(fit, missing)
            if tasks:
                shares.append(self._share(node, tasks, tasks * cores, tasks * gpus))
                missing -= tasks
            if not missing:
                return shares
        return None

    def _whole(self, request: JobRequest, order: Sequence[int], wanted: int) -> list[Share] | None:
        slots = -(-request.tasks // wanted)
        cores, gpus = slots * request.cores_per_task, slots * request.gpus_per_task
        chosen = []
        for node in order:
            all_cores, _ = self._sizes[node]
            if len(self._cores[node]) < cores or len(self._gpus[node]) < gpus:
                continue
            if request.exclusive and len(self._cores[node]) < all_cores:
                continue
            chosen.append(node)
            if len(chosen) == wanted:
                break
        else:
            return None
        shares, missing = [], request.tasks
        for left, node in zip(range(wanted, 0, -1), sorted(chosen)):  # noqa: B905 - Python 3.8
            tasks = -(-missing // left)
            missing -= tasks
            if request.exclusive:
                cores, gpus = len(self._cores[node]), len(self._gpus[node])
            shares.append(self._share(node, tasks, cores, gpus))
        return shares

    def _share(self, node: int, tasks: int, cores: int, gpus: int) -> Share:
        return Share(
            node, tasks, frozenset(sorted(self._cores[node])[:cores]), frozenset(sorted(self._gpus[node])[:gpus])
        )


def nodes_wanted(request: JobRequest, largest: tuple[int, int]) -> int | None:
    """The node count to ask Flux for.

    Flux takes `exclusive` with a node count only, so without one we ask for as many as the tasks fill.

    Args:
        request: the job.
        largest: cores and GPUs of the largest node.
    """
    if request.nodes is not None or not request.exclusive:
        return request.nodes
    fit = largest[0] // request.cores_per_task
    if request.gpus_per_task:
        fit = min(fit, largest[1] // request.gpus_per_task)
    return -(-request.tasks // fit) if fit else 1
