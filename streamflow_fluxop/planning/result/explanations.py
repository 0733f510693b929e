"""Why a plan is as it is, in sentences that a user understands."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from streamflow_fluxop.planning.problem.instance import TICKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streamflow_fluxop.planning.problem.instance import Instance
    from streamflow_fluxop.planning.result.schedule import NodeLease


def reasons(
    instance: Instance, members: list[list[NodeLease]], steps: list[dict[int, None]], names: list[str]
) -> list[list[str]]:
    """For each MiniCluster why it opens, changes and closes.

    Args:
        instance: the problem.
        members: for each MiniCluster the leases of its nodes.
        steps: for each MiniCluster its steps in order of their first jobs there.
        names: the MiniClusters' names.
    """
    spans = [(min(n.first for n in nodes), max(n.last for n in nodes)) for nodes in members]
    by_sharing: dict[tuple[int, int], list[int]] = {}
    for m, nodes in enumerate(members):
        by_sharing.setdefault((nodes[0].sharing, nodes[0].flavour), []).append(m)
    result = []
    for m, nodes in enumerate(members):
        flavour, sharing = instance.flavours[nodes[0].flavour], instance.sharing_classes[nodes[0].sharing]
        start, end = spans[m]
        break_even = flavour.up + flavour.down
        siblings = [o for o in by_sharing[nodes[0].sharing, nodes[0].flavour] if o != m]
        before = max((o for o in siblings if spans[o][1] <= start), key=lambda o: spans[o][1], default=None)
        after = min((o for o in siblings if spans[o][0] >= end), key=lambda o: spans[o][0], default=None)
        lines = [
            f"asked for {seconds(flavour.up)} before {_some(instance, steps[m])} "
            f"{'needs' if len(steps[m]) == 1 else 'need'} it, the time that it takes to come up"
        ]
        if sharing.group is not None:
            lines.append(f"the group {sharing.group} has a MiniCluster of its own, kept from its first job to its last")
        if before is not None:
            gap = start - spans[before][1]
            if gap > break_even:
                lines.append(
                    f"new, because {names[before]} would have been idle for {seconds(gap)}, "
                    f"and bringing nodes up and down again costs only {seconds(break_even)}"
                )
            else:
                lines.append(f"new, because {names[before]} had to make room")
        elif any(spans[o][0] <= start < spans[o][1] for o in siblings):
            lines.append("separate, so that its nodes can go before or after the others")
        grown = sum(n.first > start for n in nodes)
        shrunk = sum(n.last < end for n in nodes)
        if grown:
            lines.append(f"grows {_times(grown)} by a node when more jobs are ready")
        if shrunk:
            lines.append(f"{_nodes(shrunk)} {'goes' if shrunk == 1 else 'go'} early, when there is no work left")
        if after is None:
            lines.append(f"goes after its last job: nothing later needs {_what(flavour.name, sharing.image)}")
        else:
            gap = spans[after][0] - end
            lines.append(f"goes after its last job: the next use, in {names[after]}, is {seconds(gap)} away")
        result.append(lines)
    return result


def seconds(ticks: float) -> str:
    """Ticks as seconds, minutes and hours: ``16 min 40 s``, from two minutes on rounded up to seconds."""
    if ticks < 120 * TICKS:
        return f"{ticks / TICKS:.4g} s"
    minutes, s = divmod(ceil(ticks / TICKS), 60)
    hours, minutes = divmod(minutes, 60) if minutes >= 120 else (0, minutes)
    parts = ((hours, "h"), (minutes, "min"), (s, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _some(instance: Instance, steps: Iterable[int]) -> str:
    names = [instance.steps[s].name for s in steps]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more steps" if len(names) > 3 else "")


def _what(flavour: str, image: str | None) -> str:
    return f"{flavour} nodes with {image}" if image else f"{flavour} nodes"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _nodes(n: int) -> str:
    return "one node" if n == 1 else f"{n} nodes"
