"""The JSON Schemas (2020-12) of the documents, as `streamflow_fluxop/schemas` publishes them.

`python -m streamflow_fluxop.sources.schemas` writes them anew after a change of the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from streamflow_fluxop.events import EventLine
from streamflow_fluxop.model import Plan, Problem, Workflow
from streamflow_fluxop.sources.own_documents import Flavours

DOCUMENTS: dict[str, tuple[type[BaseModel], str]] = {
    "workflow": (Workflow, "1"),
    "flavours": (Flavours, "1"),
    "problem": (Problem, "1"),
    "plan": (Plan, "1"),
    "events": (EventLine, "1"),
}
"""What each document is, and the version of its schema."""

FOLDER = Path(__file__).parent.parent / "schemas"


def schema(name: str) -> dict[str, Any]:
    """The schema of one of `DOCUMENTS`."""
    model, version = DOCUMENTS[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:streamflow-fluxop:schema:{name}:{version}",
        **model.model_json_schema(),
    }


def text(name: str) -> str:
    """The schema as its file has it."""
    return json.dumps(schema(name), indent=2) + "\n"


if __name__ == "__main__":
    for document in DOCUMENTS:
        FOLDER.joinpath(f"{document}.json").write_text(text(document), encoding="utf-8")
