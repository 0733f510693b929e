"""What StreamFlow refuses as it translates a workflow, or in every job: told before the run instead.

Features need their requirement at the place that uses them (CWL 1.2, 5.1); StreamFlow takes hints for requirements
here. It does not ask for SubworkflowFeatureRequirement.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from streamflow_fluxop.cwl.expressions import is_expression
from streamflow_fluxop.cwl.failing import field_place
from streamflow_fluxop.cwl.links import scattered
from streamflow_fluxop.cwl.parsed_documents import Process
from streamflow_fluxop.cwl.requirements import Requirements
from streamflow_fluxop.cwl.source_location import SourceLocation, entry_place, last
from streamflow_fluxop.errors import UserError


def _unless_required(kind: str, requirements: Requirements, use: str, where: str) -> Iterator[UserError]:
    if requirements.get(kind) is None:
        fix = f"Add `{kind}: {{}}` to the `requirements` of the workflow."
        yield UserError(f"{use} needs {kind}, which is not in the requirements", where=where, fix=fix)


def check_step_features(step: Any, requirements: Requirements, place: SourceLocation) -> Iterator[UserError]:
    """The features that a step uses without their requirement.

    Args:
        step: cwl-utils' WorkflowStep.
        requirements: as they hold in it.
        place: where it stands.
    """
    if scattered(step):
        yield from _unless_required(
            "ScatterFeatureRequirement", requirements, "`scatter`", field_place(place, "scatter")
        )
    for entry in step.in_:
        where = entry_place(place.file, place.node, "in", last(entry.id), place.words)
        if entry.valueFrom:
            yield from _unless_required(
                "StepInputExpressionRequirement", requirements, "`valueFrom`", where.at("valueFrom")
            )
        yield from _several(entry.source, requirements, str(where))


def check_outputs(workflow: Process, requirements: Requirements, words: str) -> Iterator[UserError]:
    """The outputs of a workflow that come from nowhere, or from several sources without the requirement.

    Args:
        workflow: a process.
        requirements: as they hold in it.
        words: what to call it in messages, empty for the root.
    """
    for output in workflow.cwl.outputs:
        where = str(entry_place(workflow.file, workflow.yaml, "outputs", last(output.id), words))
        if output.outputSource is None:
            fix = "Say which step makes it: `outputSource: step/output`."
            yield UserError("the output has no `outputSource`", where=where, fix=fix)
        yield from _several(output.outputSource, requirements, where)


def _several(source: Any, requirements: Requirements, where: str) -> Iterator[UserError]:
    if isinstance(source, list) and len(source) > 1:
        yield from _unless_required("MultipleInputFeatureRequirement", requirements, "a list of sources", where)


def check_tool(process: Process, requirements: Requirements, words: str) -> Iterator[UserError]:
    """What no job of a tool can do.

    Args:
        process: any but a workflow.
        requirements: as they hold in it.
        words: what to call it in messages, empty for the root.
    """
    place = SourceLocation(process.file, process.yaml, words)
    if process.kind == "Operation":
        fix = "Let the step `run` a CommandLineTool, an ExpressionTool or a Workflow."
        yield UserError("an Operation can't be run", where=field_place(place, "class"), fix=fix)
        return
    if process.kind == "CommandLineTool":
        yield from _wrong_streams(process, place)
        yield from _wrong_positions(process, words)
        yield from _outside(requirements)


def _wrong_streams(process: Process, place: SourceLocation) -> Iterator[UserError]:
    for key in ("stdout", "stderr"):
        name = getattr(process.cwl, key, None)
        used = any(o.type_ == key for o in process.cwl.outputs)
        if used and isinstance(name, str) and not is_expression(name) and _leads_out(name):
            what = f"{name} is outside the job's output directory"
            yield UserError(what, where=field_place(place, key), fix="Write a name without a folder.")


def _wrong_positions(process: Process, words: str) -> Iterator[UserError]:
    place = SourceLocation(process.file, process.yaml, words)
    bindings = [
        (f"{entry_place(process.file, process.yaml, 'inputs', last(i.id), words)}.inputBinding", i.inputBinding)
        for i in process.cwl.inputs
    ]
    arguments = enumerate(process.cwl.arguments or ())
    bindings += [(field_place(place, "arguments", n), a) for n, a in arguments if not isinstance(a, str)]
    for where, binding in bindings:
        position = getattr(binding, "position", None)
        if isinstance(position, str) and not is_expression(position) and not position.strip().lstrip("+-").isdigit():
            yield UserError(f"{position!r} is neither a whole number nor an expression", where=f"{where}.position")


def _outside(requirements: Requirements) -> Iterator[UserError]:
    work = requirements.get("InitialWorkDirRequirement")
    listing = getattr(work.value, "listing", None) if work is not None else None
    for entry in listing if isinstance(listing, list) else [listing]:
        name = getattr(entry, "entryname", None)
        if work is None or not isinstance(name, str) or is_expression(name):
            continue
        if _leads_out(name) and not posixpath.isabs(name):  # absolute names are right in containers
            what = f"the entryname {name} is outside the job's working directory"
            yield UserError(what, where=work.place.at("listing"), fix="Write a name within it.")


def _leads_out(name: str) -> bool:
    return posixpath.isabs(name) or posixpath.normpath(name).split("/")[0] == ".."
