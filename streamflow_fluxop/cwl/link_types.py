"""Whether what is linked in a workflow suits, and whether every step has what its tool requires.

The rules are those of cwltool's static check, for CWL 1.2 says only that source and sink have to be compatible: a link
is wrong where no value but null could pass it. What might be wrong is left to the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamflow_fluxop.cwl.links import local, loop_of, scattered, sources
from streamflow_fluxop.cwl.parsed_documents import Process
from streamflow_fluxop.cwl.refused_by_run import check_outputs, check_step_features
from streamflow_fluxop.cwl.requirements import Requirements
from streamflow_fluxop.cwl.source_location import SourceLocation, entry_place, last
from streamflow_fluxop.cwl.types import plain, said
from streamflow_fluxop.errors import UserError

_STREAMS = {"stdin": "File", "stdout": "File", "stderr": "File"}


@dataclass(frozen=True)
class StepIn:
    """A workflow step and the process that it runs.

    Attributes:
        cwl: cwl-utils' WorkflowStep.
        name: its StreamFlow path.
        place: where it stands.
        process: what it runs.
        requirements: as they hold in the step.
        inner: as they hold in what it runs.
    """

    cwl: Any
    name: str
    place: SourceLocation
    process: Process
    requirements: Requirements
    inner: Requirements

    def section(self, key: str) -> str:
        """Where the step's `in` or `out` stands."""
        return str(replace(self.place, words=f"{self.place.words}: {key}", key=key))

    def entry(self, name: str) -> SourceLocation:
        """Where the input `name` is given."""
        return entry_place(self.place.file, self.place.node, "in", name, self.place.words)


def check_links(
    workflow: Process, requirements: Requirements, steps: Mapping[str, StepIn], words: str
) -> Iterator[UserError]:
    """Links whose types never suit, inputs that a step lacks, outputs that it can't have.

    Args:
        workflow: a process.
        requirements: as they hold in it.
        steps: of the workflow, by local name.
        words: what to call the workflow in messages, empty for the root.
    """
    types = dict(_types_of_sources(workflow, requirements, steps))
    for step in steps.values():
        yield from check_step_features(step.cwl, step.requirements, step.place)
        yield from _lacking(step)
        taken = {last(i.id): i for i in step.process.cwl.inputs}
        scatter = scattered(step.cwl)
        for entry in step.cwl.in_:
            declared = taken.get(last(entry.id))
            if declared is None or entry.valueFrom is not None:
                continue
            kind = _type(declared, step.inner)
            if last(entry.id) in scatter:
                kind = {"type": "array", "items": kind}
            yield from _wrong(entry, entry.source, kind, types, workflow.prefix, str(step.entry(last(entry.id))))
    yield from check_outputs(workflow, requirements, words)
    for output in workflow.cwl.outputs:
        place = entry_place(workflow.file, workflow.yaml, "outputs", last(output.id), words)
        kind = _type(output, requirements)
        yield from _wrong(output, output.outputSource, kind, types, workflow.prefix, str(place))


def _types_of_sources(
    workflow: Process, requirements: Requirements, steps: Mapping[str, StepIn]
) -> Iterator[tuple[str, Any]]:
    """The type of everything that a link can lead to, by local name."""
    for port in workflow.cwl.inputs:
        yield local(workflow.prefix, port.id), _type(port, requirements)
    for key, step in steps.items():
        nested = len(scattered(step.cwl)) if step.cwl.scatterMethod == "nested_crossproduct" else 1
        for port in step.process.cwl.outputs:
            kind = _type(port, step.inner)
            if loop_of(step.cwl, step.requirements) is not None:
                kind = "Any"
            elif scattered(step.cwl):
                for _ in range(nested):
                    kind = {"type": "array", "items": kind}
            if getattr(step.cwl, "when", None) is not None:
                kind = ["null", *(kind if isinstance(kind, list) else [kind])]
            yield f"{key}/{last(port.id)}", kind


def _type(port: Any, requirements: Requirements) -> Any:
    schemas = requirements.get("SchemaDefRequirement")
    defined = {t.name: t for t in schemas.value.types} if schemas is not None else {}
    kind = plain(port.type_, defined)
    return _STREAMS.get(kind, kind) if isinstance(kind, str) else kind


def _lacking(step: StepIn) -> Iterator[UserError]:
    """What the process requires and the step does not give; what the step wants and the process does not have."""
    given = {last(e.id): e for e in step.cwl.in_}
    for port in step.process.cwl.inputs:
        name = last(port.id)
        if port.default is not None or port.type_ == "null" or (isinstance(port.type_, list) and "null" in port.type_):
            continue
        entry = given.get(name)
        if entry is not None and (entry.source is not None or entry.default is not None or entry.valueFrom is not None):
            continue
        where = step.section("in") if entry is None else str(step.entry(name))
        yield UserError(
            f"the input {name!r}, which {step.process.file} requires, is not given",
            where=where,
            fix=f"Link it to what has the type {said(port.type_)}, or give it a `default`.",
        )
    made = [last(o.id) for o in step.process.cwl.outputs]
    for output in step.cwl.out:
        name = last(output if isinstance(output, str) else output.id)
        if name not in made:
            yield UserError(
                f"{step.process.file} has no output {name!r}",
                where=step.section("out"),
                fix=f"It has: {', '.join(made) or 'none'}.",
            )


def _wrong(sink: Any, source: Any, kind: Any, types: Mapping[str, Any], prefix: str, where: str) -> Iterator[UserError]:
    """The links of one sink that only null could pass."""
    pick = getattr(sink, "pickValue", None)
    merge = _merge(sink, source, pick)
    for name in (local(prefix, s) for s in sources(source)):
        if name not in types:
            continue  # said elsewhere
        given = _picked(types[name], pick)
        comes = given
        if merge == "merge_nested":
            comes = {"type": "array", "items": given}
        elif merge == "merge_flattened":
            comes = _flattened(given)
        if not (_undefined(comes) or _undefined(kind) or suits_sink(comes, kind)):
            of = "" if merge is None else f", as {merge} makes it,"
            yield UserError(
                f"{name} is of type {_said(types[name])}, which{of} is not {_said(kind)}",
                where=where,
                fix="Link it to what has that type, or make it so with `valueFrom`.",
            )


def _merge(sink: Any, source: Any, pick: str | None) -> str | None:
    if not isinstance(source, list) or pick in ("first_non_null", "the_only_non_null"):
        return None
    merge = sink.linkMerge or ("merge_nested" if len(source) > 1 or pick == "all_non_null" else None)
    return str(merge) if merge is not None else None


def _picked(kind: Any, pick: str | None) -> Any:
    """What `pickValue` takes from a list: items that may be null are not any more."""
    if pick is None or not isinstance(kind, Mapping) or kind["type"] != "array" or not isinstance(kind["items"], list):
        return kind
    items = [k for k in kind["items"] if k != "null"]
    return {"type": "array", "items": items} if pick == "all_non_null" else items


def _undefined(kind: Any) -> bool:
    """Whether somewhere in a type is one that nobody defines, which is told of elsewhere."""
    if isinstance(kind, str):
        return "#" in kind
    if isinstance(kind, list):
        return any(map(_undefined, kind))
    return _undefined(kind.get("items", "Any")) or any(_undefined(f["type"]) for f in kind.get("fields", ()))


def _flattened(kind: Any) -> Any:
    if isinstance(kind, list):
        return [_flattened(k) for k in kind]
    if isinstance(kind, Mapping) and kind["type"] == "array":
        return kind
    return {"type": "array", "items": kind}


def suits_sink(source: Any, sink: Any) -> bool:
    """Whether any value but null of one type is of the other; null too where a type is null alone."""
    if "Any" in (source, sink):
        return True
    if isinstance(source, list):
        return any(k != "null" and suits_sink(k, sink) for k in source)
    if isinstance(sink, list):
        return any(suits_sink(source, k) for k in sink)
    if not isinstance(source, Mapping) or not isinstance(sink, Mapping):
        return bool(source == sink)
    if source["type"] == sink["type"] == "array":
        return suits_sink(source["items"], sink["items"])
    if source["type"] == sink["type"] == "record":
        fields = _fields(source)
        return all(suits_sink(fields.get(name, "null"), kind) for name, kind in _fields(sink).items())
    return bool(source["type"] == sink["type"])


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {f["name"]: f["type"] for f in record["fields"]}


def _said(kind: Any) -> str:
    """A plain type in CWL's words."""
    if isinstance(kind, Sequence) and not isinstance(kind, str):
        others = [k for k in kind if k != "null"]
        return f"{_said(others[0])}?" if len(others) == 1 else " or ".join(map(_said, kind))
    if not isinstance(kind, Mapping):
        return last(str(kind))
    match kind["type"]:
        case "array":
            inner = _said(kind["items"])
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case "record":
            return f"record of {', '.join(f'{n}: {_said(t)}' for n, t in _fields(kind).items())}"
    return f"enum of {', '.join(kind['symbols'])}"
