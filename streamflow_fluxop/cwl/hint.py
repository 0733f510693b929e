"""Our own hint, `fluxop:FluxRequirement`: what CWL has no words for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints, ValidationError, model_validator

from streamflow_fluxop.cwl.source_location import SourceLocation, entries
from streamflow_fluxop.errors import UserError, UserErrors

NAMESPACE = "urn:fluxop:"
CLASS = "FluxRequirement"
SCHEMA_ID = "urn:streamflow-fluxop:schema:cwl:FluxRequirement:1"

_HOW_TO_WRITE = f'Declare `$namespaces: {{fluxop: "{NAMESPACE}"}}` and write the class as fluxop:{CLASS}.'

Count = Annotated[int, Field(strict=True, ge=1)]
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]


class FluxRequirement(BaseModel):
    """What a step wants of Flux and of the plan, beyond what CWL can say. Every field is optional."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: Count | None = Field(None, description="Nodes that the job's tasks are spread over evenly.")
    tasks: Count | None = Field(
        None, description="Processes that the job starts; wins over cwltool:MPIRequirement. Absent: one a node."
    )
    coresPerTask: Count | None = Field(None, description="Cores of each task; absent: coresMin shared by the tasks.")
    gpusPerTask: Annotated[int, Field(strict=True, ge=0)] | None = Field(
        None, description="GPUs of each task; absent: cudaDeviceCountMin shared by the tasks."
    )
    exclusive: StrictBool | None = Field(None, description="No other job on the job's nodes.")
    flavour: Name | Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="The flavour of node that it wants, or several that will do."
    )
    duration: Seconds | None = Field(None, description="Expected run time of one job, in seconds.")
    durationSpread: Seconds | None = Field(None, description="Standard deviation of that, in seconds.")
    width: Count | None = Field(
        None, description="How many jobs the step's scatter is expected to make, where the inputs don't tell."
    )
    group: Name | None = Field(None, description="Steps with equal groups share one MiniCluster, with no other step.")

    @model_validator(mode="after")
    def _tasks_reach_every_node(self) -> FluxRequirement:
        if self.nodes and self.tasks and self.tasks < self.nodes:
            raise ValueError(f"{self.tasks} tasks can't reach {self.nodes} nodes: give at least as many tasks as nodes")
        return self

    @property
    def flavours(self) -> list[str]:
        """`flavour` as a list."""
        if self.flavour is None:
            return []
        return [self.flavour] if isinstance(self.flavour, str) else list(self.flavour)

    def said(self) -> dict[str, Any]:
        """The fields that the user wrote, with their values."""
        return {name: getattr(self, name) for name in self.model_fields_set if getattr(self, name) is not None}


def hint_schema() -> dict[str, Any]:
    """The hint's JSON Schema (2020-12), as the docs publish it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **FluxRequirement.model_json_schema(),
    }


def is_ours(hint: Mapping[str, Any], namespaces: Mapping[str, str], place: SourceLocation) -> bool:
    """Whether a hint, as CWL's parser leaves unknown ones, is `fluxop:FluxRequirement`.

    The parser leaves the class as it was written, with whatever prefix the document gives to the namespace. A prefix
    `fluxop` that no document declares counts as ours.

    Raises:
        UserError: it means to be ours and is not quite: another name in our namespace, or no namespace.
    """
    written = str(hint.get("class", ""))
    prefix, _, name = written.partition(":")
    full = written
    if prefix in namespaces:
        full = namespaces[prefix] + name
    elif prefix == "fluxop":
        full = NAMESPACE + name
    if full == NAMESPACE + CLASS:
        return True
    if full.startswith(NAMESPACE):
        raise UserError(f"there is no hint {written}", where=str(place), fix=f"The only one is fluxop:{CLASS}.")
    if full == CLASS or (prefix == "fluxop" and name == CLASS):
        raise UserError(f"{written} is in another namespace than ours", where=str(place), fix=_HOW_TO_WRITE)
    return False


def read_hint(hint: Mapping[str, Any], place: SourceLocation) -> FluxRequirement:
    """Check one `fluxop:FluxRequirement` as the CWL parser leaves it, a mapping.

    Raises:
        UserErrors: unknown keys and wrong values, each with its place and what would be right.
    """
    try:
        return FluxRequirement.model_validate({k: v for k, v in hint.items() if k not in ("class", None)})
    except ValidationError as error:
        raise UserErrors(list(_explain(error, place))) from None


def refuse_as_requirement(yaml: Any, file: str) -> None:
    """Explain why a document that says our hint as a requirement can't be read.

    Args:
        yaml: the document, or a part of it.
        file: as a user would type it.

    Raises:
        UserError: `fluxop:FluxRequirement` stands under `requirements`, where CWL allows only what it knows.
    """
    for kind, value, container in entries(yaml, "requirements"):
        if kind.endswith(CLASS):
            place = SourceLocation(
                file, value if isinstance(value, Mapping) and value else container, f"requirements.{kind}"
            )
            raise UserError(
                f"{kind} is no requirement that CWL knows", where=str(place), fix="Move it to `hints`, as it is."
            )
    if isinstance(yaml, Mapping):
        parts: Iterable[Any] = yaml.values()
    else:
        parts = yaml if isinstance(yaml, list) else ()
    for part in parts:
        refuse_as_requirement(part, file)


def merge(levels: Iterable[FluxRequirement]) -> FluxRequirement:
    """One hint of several, field by field: a later, more specific one wins."""
    fields: dict[str, Any] = {}
    for level in levels:
        fields |= level.said()
    return FluxRequirement.model_construct(_fields_set=set(fields), **fields)


def _explain(error: ValidationError, place: SourceLocation) -> Iterable[UserError]:
    seen = set()
    for problem in error.errors(include_url=False):
        key = str(problem["loc"][0]) if problem["loc"] else ""
        if key in seen:
            continue  # the members of a union complain one by one
        seen.add(key)
        where = place.at(key) if key else str(place)
        field = FluxRequirement.model_fields.get(key)
        if not key:
            yield UserError(str(problem["ctx"]["error"]), where=where)
        elif field is None:
            close = get_close_matches(key, FluxRequirement.model_fields, n=1)
            fix = f"Did you mean {close[0]}?" if close else f"It knows {', '.join(FluxRequirement.model_fields)}."
            yield UserError(f"fluxop:{CLASS} has no field {key!r}", where=where, fix=fix)
        else:
            value = json.dumps(problem["input"], default=str)
            yield UserError(f"{value} is not {_KINDS[key]}", where=where, fix=field.description)


_KINDS = {
    **dict.fromkeys(("nodes", "tasks", "coresPerTask", "width"), "a whole number of at least 1"),
    "gpusPerTask": "a whole number of at least 0",
    "exclusive": "true or false",
    "flavour": "the name of a flavour, or a list of names",
    **dict.fromkeys(("duration", "durationSpread"), "a number of seconds"),
    "group": "a name: small letters, digits and dashes, at most 40, starting with a letter",
}
