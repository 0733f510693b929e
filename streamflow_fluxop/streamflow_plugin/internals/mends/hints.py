"""Mend: hints of steps count, and hints stay hints.

StreamFlow 0.2.0rc3 (`cwl/translator.py`, `_recursive_translate`, `_translate_workflow_step`) passes over the hints of
a step, as cwl-utils gives them as plain mappings; and it takes what is a hint of a workflow or step for a requirement
of the tool inside, so that it wins over the tool's own hint, where CWL wants the most specific one (1.2, 4.2).
"""

from __future__ import annotations

import functools
from collections.abc import MutableMapping
from typing import Any

from cwl_utils.parser import cwl_v1_2, is_process
from schema_salad.exceptions import ValidationException
from streamflow.cwl.translator import CWLTranslator

from streamflow_fluxop.cwl.requirements import of_its_class
from streamflow_fluxop.streamflow_plugin.internals.mends import Mend


class _Tried(CWLTranslator):
    """Notes what StreamFlow says holds in a process, and does not go on."""

    def __init__(self) -> None:
        self.seen: list[MutableMapping[str, Any]] = []

    def _translate_command_line_tool(self, **given: Any) -> None:
        self.seen.append(given["context"])

    def _translate_workflow_step(self, **given: Any) -> None:
        self.seen.append(given["context"])


def _is_needed() -> bool:
    options = cwl_v1_2.LoadingOptions(fileuri="file:///wf.cwl")
    hint = {"class": "ResourceRequirement", "coresMin": 2}
    step = cwl_v1_2.WorkflowStep(id="file:///wf.cwl#s", in_=[], out=[], run="", hints=[hint], loadingOptions=options)
    return not _context_in(step, {}, {})["hints"] or "ResourceRequirement" in _inside()["requirements"]


def _inside() -> MutableMapping[str, Any]:
    """What holds in a tool whose step has a hint, as StreamFlow passes it on."""
    hint = cwl_v1_2.ResourceRequirement(coresMin=2)
    tool = cwl_v1_2.CommandLineTool(id="file:///tool.cwl", inputs=[], outputs=[])
    return _context_in(tool, {"ResourceRequirement": hint}, {"ResourceRequirement": hint})


def _context_in(element: Any, hints: dict[str, Any], requirements: dict[str, Any]) -> MutableMapping[str, Any]:
    tried = _Tried()
    context = {"elements": {}, "requirements": requirements, "hints": hints, "version": "v1.2"}
    tried._recursive_translate(
        workflow=None, cwl_element=element, context=context, name_prefix="/s", cwl_name_prefix="/s"
    )
    return tried.seen[0]


def _apply() -> None:
    original = CWLTranslator._recursive_translate

    @functools.wraps(original)
    def recursive_translate(
        self: CWLTranslator,
        workflow: Any,
        cwl_element: Any,
        context: MutableMapping[str, Any],
        name_prefix: str,
        cwl_name_prefix: str,
    ) -> None:
        if is_process(cwl_element):
            hints = context["hints"]
            stated = {k: v for k, v in context["requirements"].items() if v is not hints.get(k)}
            context = {**context, "requirements": stated}
        cwl_element.hints = [_of_its_class(hint, cwl_element) for hint in cwl_element.hints or []]
        original(self, workflow, cwl_element, context, name_prefix, cwl_name_prefix)

    CWLTranslator._recursive_translate = recursive_translate


def _of_its_class(hint: Any, element: Any) -> Any:
    try:
        return of_its_class(hint, element)
    except ValidationException:  # the check before the run has told those that concern a fleet
        return hint


MEND = Mend("hints of steps count, and hints stay hints", "0.2.0rc3", _is_needed, _apply)
