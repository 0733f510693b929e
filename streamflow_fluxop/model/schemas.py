"""The JSON Schemas of the planner's documents: `python -m streamflow_fluxop.model.schemas` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow_fluxop.model.plan import Plan
from streamflow_fluxop.model.problem import Problem
from streamflow_fluxop.model.workflow import Workflow

if TYPE_CHECKING:
    from streamflow_fluxop.model.document import Document

FOLDER = Path(__file__).parent.parent / "schemas"
DOCUMENTS: dict[str, type[Document]] = {"workflow.json": Workflow, "problem.json": Problem, "plan.json": Plan}


def schema_text(document: type[Document]) -> str:
    """The schema of a document, as it is published."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **document.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def write_schemas(folder: Path = FOLDER) -> None:
    """Write all schemas."""
    folder.mkdir(exist_ok=True)
    for name, document in DOCUMENTS.items():
        (folder / name).write_text(schema_text(document), encoding="utf-8")


if __name__ == "__main__":
    write_schemas()
