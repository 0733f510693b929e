"""Reads a CWL workflow and its inputs into a graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from streamflow_fluxop.cwl.expressions import expressions
from streamflow_fluxop.cwl.graph import CWLWorkflow
from streamflow_fluxop.cwl.inputs import check_inputs
from streamflow_fluxop.cwl.known_values import from_document
from streamflow_fluxop.cwl.parsed_documents import Documents
from streamflow_fluxop.cwl.requirements import Located
from streamflow_fluxop.cwl.source_location import SourceLocation, shown
from streamflow_fluxop.cwl.walk import Inputs, Walk
from streamflow_fluxop.errors import UserError, UserErrors

ASSUMED_DURATION = 60.0
"""Seconds that a job is assumed to run when nothing tells."""

ASSUMED_WIDTH = 1
"""Length that an array is assumed to have when nothing tells."""


def read_workflow(
    cwl_file: str,
    inputs_file: str | None = None,
    name: str = "workflow",
    *,
    assumed_duration: float = ASSUMED_DURATION,
    assumed_width: int = ASSUMED_WIDTH,
    all_given: bool = False,
    javascript: bool = True,
    web: bool = False,
) -> CWLWorkflow:
    """Read a CWL workflow, or a single tool, as StreamFlow will run it.

    Blocks: it reads files, and where a width, a condition or a need hangs on a JavaScript expression it runs node for
    5 s at most. On an event loop call it in a thread, or before the loop.

    Args:
        cwl_file: path or URI, with `#name` for one process of a packed document.
        inputs_file: path or URI of the job order; None: no inputs.
        name: of the workflow.
        assumed_duration: seconds that a job is assumed to run when nothing tells.
        assumed_width: length that an array is assumed to have when nothing tells.
        all_given: whether every input without default, and every file, has to be there, as for a run.
        javascript: whether to evaluate JavaScript; where not, what hangs on it is known at run time only.
        web: whether to read documents on the web.

    Raises:
        UnreadableCWL: a document can't be read, or StreamFlow can't run it.
        UserErrors: mistakes in the inputs, in what a step asks for and in our own hint.
    """
    documents = Documents(web=web)
    root = documents.load(cwl_file)
    given = {} if inputs_file is None else documents.inputs(inputs_file)
    errors = check_inputs(root, given, inputs_file, all_given=all_given)
    inputs = _inputs(given, inputs_file)
    with expressions(javascript=javascript) as evaluator:
        walk = Walk(documents, evaluator, inputs, assumed_duration, assumed_width)
        steps = walk.root(root)
        errors = [*errors, *walk.errors] or walk.failures()
    if errors:
        raise UserErrors(errors)
    return CWLWorkflow(name=name, file=shown(root.cwl.id), steps=steps, script=walk.script)


def _inputs(loaded: Mapping[str, Any], path: str | None) -> Inputs:
    if path is None:
        return Inputs({}, {})
    place = SourceLocation(shown(path), None, "cwl:requirements")
    said = loaded.get("cwl:requirements") or []
    if not isinstance(said, list):
        raise UserError("is no list", where=str(place), fix="Begin each requirement with `- class: …`.")
    requirements = {
        str(r["class"]): Located(SimpleNamespace(**r), place) for r in said if isinstance(r, Mapping) and "class" in r
    }
    base = path if "://" in path else Path(path).resolve().as_uri()
    return Inputs({k: from_document(v, base) for k, v in loaded.items()}, requirements)
