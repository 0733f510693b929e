"""The links of a workflow: what comes to a step's inputs and a workflow's outputs, and in which order the steps go."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.known_values import Port, constant, merged, picked
from streamflow_fluxop.cwl.parsed_documents import Process
from streamflow_fluxop.cwl.requirements import Requirements
from streamflow_fluxop.cwl.source_location import SourceLocation, last


@dataclass(frozen=True)
class Loop:
    """A loop of a step: CWL 1.3's, or cwltool's extension.

    Attributes:
        when: the condition of the next round.
        carries: the inputs that get new values each round.
    """

    when: Any
    carries: frozenset[str]


def loop_of(step: Any, requirements: Requirements) -> Loop | None:
    """The loop of a step, None where it doesn't loop."""
    said = requirements.get("Loop")
    if said is not None:
        return Loop(said.value.loopWhen, frozenset(last(i.id) for i in said.value.loop or []))
    if getattr(step, "loop", None) is not None:
        return Loop(step.when, frozenset(last(i.id) for i in step.loop))
    return None


def local(prefix: str, identifier: str) -> str:
    """A CWL id as seen from the process around it: `step`, `step/output` or `input` (StreamFlow's `get_name`)."""
    return posixpath.relpath("/" + identifier.rsplit("#", 1)[-1], prefix)


def sources(source: Any) -> list[str]:
    """A link's sources, which CWL writes as one, a list or nothing."""
    if source is None:
        return []
    return [source] if isinstance(source, str) else list(source)


def scattered(step: Any) -> list[str]:
    """The inputs that a step scatters over."""
    return [last(name) for name in sources(step.scatter)]


def linked(sink: Any, source: Any, known: Mapping[str, Port], prefix: str, count: int, place: SourceLocation) -> Port:
    """What comes to an input of a step, or an output of a workflow, through its links.

    Args:
        sink: cwl-utils' object of that input or output.
        source: its links, as CWL has them.
        known: what they can lead to, by local name.
        prefix: of the workflow.
        count: of the workflow's executions.
        place: where the sink stands.

    Raises:
        UnreadableCWL: a link that leads nowhere.
    """
    names = [local(prefix, s) for s in sources(source)]
    if not names:
        return constant(None, count)
    if missing := [n for n in names if n not in known]:
        raise UnreadableCWL(
            f"is linked to {missing[0]}, which is not there",
            where=str(place),
            fix=f"There are: {', '.join(known) or 'no inputs and outputs'}.",
        )
    ports = [known[n] for n in names]
    pick_value = getattr(sink, "pickValue", None)
    if len(names) == 1 and pick_value is None and (isinstance(source, str) or sink.linkMerge is None):
        return ports[0]
    if isinstance(source, str):
        return Port(lambda: [picked(v, pick_value) for v in ports[0].values], ports[0].producers)
    return merged(ports, count, sink.linkMerge, pick_value)


def with_default(port: Port, default: Any) -> Port:
    """The values of a port, with a default where there is none."""
    return Port(lambda: [default if v is None else v for v in port.values], port.producers)


def in_order(workflow: Process, steps: Mapping[str, Any]) -> list[str]:
    """The steps of a workflow so that each comes after those it reads from.

    Args:
        workflow: the process.
        steps: its steps by their local names.

    Raises:
        UnreadableCWL: steps that wait for each other.
    """
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(steps, ()))
    for key, step in steps.items():
        for source in (s for i in step.in_ for s in sources(i.source)):
            producer = local(workflow.prefix, source).rpartition("/")[0]
            if producer in steps:
                graph.add(key, producer)
    try:
        return list(graph.static_order())
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise UnreadableCWL(
            f"the steps wait for each other: {cycle}", where=workflow.file, fix="Take one of these links out."
        ) from None
