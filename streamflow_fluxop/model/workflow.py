from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.dataclasses import dataclass

from streamflow_fluxop.model.base import Document
from streamflow_fluxop.model.needs import Needs


class Duration(Document):
    """How long one job of a step is expected to run, and how we know."""

    seconds: NonNegativeFloat = Field(description="Expected run time of one job, in seconds.")
    spread: NonNegativeFloat = Field(0.0, description="Standard deviation of that, in seconds.")
    source: Literal["hint", "time limit", "history", "tool history", "steps", "document", "assumed"] = Field(
        "document",
        description="`history`: past jobs of the step; `tool history`: of its tool in other workflows; `steps`: the "
        "fleet's `steps`.",
    )


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))  # 100 000 steps may have millions of them
class Dependency:
    """That a step reads what another one wrote."""

    step: str = Field(description="Name of the step that writes.")
    each: bool = Field(
        default=False,
        description="Job i waits for the other step's job i alone (both in one scattered subworkflow); "
        "else for all of its jobs.",
    )


class Dependencies(list[Dependency]):
    """What a step waits for, checked already: steps take it as it is, and may share it.

    Attributes:
        parts: all of it, cut so that different steps share what they have in common: equal parts are the same tuple.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Iterable[tuple[Dependency, ...]]) -> None:
        self.parts = tuple(parts)
        super().__init__(chain.from_iterable(self.parts))


def _shared(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    return value if type(value) is Dependencies else check(value)


class Step(Document):
    """A step: `width` jobs with equal needs."""

    name: str = Field(min_length=1, description="Unique in the workflow, such as /analysis.")
    needs: Needs = Needs()
    width: PositiveInt = Field(1, description="How many jobs it scatters into.")
    width_source: Literal["inputs", "hint", "document", "assumed"] = "document"
    duration: Duration
    after: Annotated[list[Dependency], WrapValidator(_shared)] = Field(
        [], description="The steps whose outputs it reads."
    )
    tool: str | None = Field(None, description="What it runs: equal tools have equal words.")
    image: str | None = Field(None, description="Container image; only steps with equal images share a MiniCluster.")
    container: str | None = Field(
        None, description="Image of the container in which each of its jobs runs, whatever its MiniCluster has."
    )
    flavours: list[str] = Field([], description="The flavours that it may run on; empty: any that fits.")
    group: str | None = Field(
        None, description="Steps with equal names of a group share one MiniCluster, and with no other step."
    )
    binding: str = Field("", description="Only steps with equal bindings share a MiniCluster.")
    defaults: list[Literal["cores", "memory"]] = Field(
        [], description="Needs that nobody stated: they are the default of the workflow's language."
    )
    skipped: bool = Field(False, description="It never runs: its condition is false, or it scatters over nothing.")
    controller: bool = Field(
        False, description="Runs beside the workflow engine (a CWL ExpressionTool): it needs no MiniCluster."
    )


class Workflow(Document):
    """A directed acyclic graph of steps."""

    version: Literal["1"] = "1"
    name: str = "workflow"
    steps: list[Step]
