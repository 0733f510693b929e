"""How many nodes hold given jobs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamflow_fluxop.planning.problem.instance import Instance


def nodes_for(instance: Instance, flavour: int, jobs: dict[int, int]) -> int:
    """Nodes that hold all of the jobs at once: first fit, largest share first.

    Args:
        instance: the problem.
        flavour: of the nodes.
        jobs: for each kind how many.
    """
    data = instance.flavours[flavour]
    shapes: list[tuple[int, list[int]]] = []
    for k in sorted(jobs, key=lambda k: (-instance.kinds[k].on(flavour).share, k)):
        fit, left = instance.kinds[k].on(flavour), jobs[k]
        left *= fit.nodes
        per_node = fit.per_node
        rest: list[tuple[int, list[int]]] = []
        for count, free in shapes:
            n = min(
                free[0] // fit.cores,
                free[1] // fit.gpus if fit.gpus else left,
                free[2] // fit.memory if fit.memory else left,
            )
            if not n or not left or fit.nodes > 1:
                rest.append((count, free))
                continue
            used = min(count, -(-left // n))
            if used < count:
                rest.append((count - used, free))
            full = used if used * n <= left else used - 1
            if full:
                rest.append((full, [free[0] - n * fit.cores, free[1] - n * fit.gpus, free[2] - n * fit.memory]))
            if full < used:
                m = left - full * n
                rest.append((1, [free[0] - m * fit.cores, free[1] - m * fit.gpus, free[2] - m * fit.memory]))
            left -= min(left, used * n)
        shapes = rest
        full, m = divmod(left, per_node)
        for count, n in ((full, per_node), (1 if m else 0, m)):
            if count:
                shapes.append(
                    (count, [data.cores - n * fit.cores, data.gpus - n * fit.gpus, data.memory - n * fit.memory])
                )
    return sum(count for count, _ in shapes)
