"""Small CWL worlds: documents as dicts or YAML text in a folder, read by us and, to compare, by StreamFlow."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest

from streamflow_fluxop.cwl import CWLStep, CWLWorkflow, read_workflow

needs_node = pytest.mark.skipif(
    not (shutil.which("nodejs") or shutil.which("node")), reason="needs node for JavaScript"
)

NAMESPACES = {"fluxop": "urn:fluxop:", "cwltool": "http://commonwl.org/cwltool#"}
FEATURES = {
    "ScatterFeatureRequirement": {},
    "SubworkflowFeatureRequirement": {},
    "MultipleInputFeatureRequirement": {},
    "StepInputExpressionRequirement": {},
    "InlineJavascriptRequirement": {},
}


def tool(*inputs: str, version: str = "v1.2", **more: Any) -> dict[str, Any]:
    """A command that reads `inputs` (of any type, optional) and writes one file, `o`."""
    return {
        "cwlVersion": version,
        "$namespaces": NAMESPACES,
        "class": "CommandLineTool",
        "baseCommand": "true",
        "inputs": dict.fromkeys(inputs or ("x",), "Any?"),
        "outputs": {"o": "stdout"},
        **more,
    }


def expression_tool(expression: str, *inputs: str) -> dict[str, Any]:
    """An ExpressionTool with one output, `o`."""
    return {
        "cwlVersion": "v1.2",
        "class": "ExpressionTool",
        "requirements": {"InlineJavascriptRequirement": {}},
        "inputs": dict.fromkeys(inputs or ("x",), "Any?"),
        "outputs": {"o": "Any"},
        "expression": expression,
    }


def step(
    run: Any, *, out: tuple[str, ...] = ("o",), more: dict[str, Any] | None = None, **links: Any
) -> dict[str, Any]:
    """A step that runs `run`; a link is a source, a list of them, or CWL's own mapping."""
    if isinstance(run, dict):
        run = {k: v for k, v in run.items() if k != "$namespaces"}  # which an inline process may not have
    return {"run": run, "in": links, "out": list(out), **(more or {})}


def workflow(
    inputs: Any = (), outputs: dict[str, Any] | None = None, version: str = "v1.2", more: Any = None, **steps: Any
) -> dict[str, Any]:
    """A workflow whose inputs (`x ys?`) take any value, those with `?` null too, with all of CWL's features."""
    if isinstance(inputs, str):
        inputs = inputs.split()
    return {
        "cwlVersion": version,
        "$namespaces": NAMESPACES,
        "class": "Workflow",
        "requirements": FEATURES,
        "inputs": inputs
        if isinstance(inputs, dict)
        else {i.rstrip("?"): "Any" + "?" * i.endswith("?") for i in inputs},
        "outputs": {k: {"type": "Any", "outputSource": v} for k, v in (outputs or {}).items()},
        "steps": steps,
        **(more or {}),
    }


class World:
    """A folder with CWL documents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, document: Any) -> str:
        """Write a document, as YAML text or JSON; return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(document) if isinstance(document, str) else json.dumps(document, indent=1))
        return str(path)

    def read(self, document: Any, /, **inputs: Any) -> CWLWorkflow:
        """Read `main.cwl` with these inputs."""
        return read_workflow(self.write("main.cwl", document), self.write("inputs.json", inputs))

    def step(self, document: Any, /, **inputs: Any) -> CWLStep:
        """Read a tool alone."""
        return self.read(document, **inputs).steps["/"]


def widths(read: CWLWorkflow) -> dict[str, int]:
    return {name: s.jobs for name, s in read.steps.items()}


def after(read: CWLWorkflow) -> dict[str, list[str]]:
    return {name: [d.step for d in s.after] for name, s in read.steps.items()}
