"""What a fleet says of single steps, beside the workflow: estimates and needs, over hints."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, StringConstraints

from streamflow_fluxop.model import Document

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]


def seconds(text: str) -> float:
    """A duration such as 90, 90s, 15m, 2h, 1h30m, in seconds.

    Raises:
        ValueError: it is none.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|m|h|d|)\s*", text)
    if not parts or "".join(re.split(r"\s+", text)) != "".join(n + u for n, u in parts):
        raise ValueError(f"{text!r} is no duration: write 90, 90s, 15m, 2h or 1h30m")
    return sum(float(n) * _SECONDS[u] for n, u in parts)


def _time(value: Any) -> Any:
    return seconds(value) if isinstance(value, str) else value


Time = Annotated[NonNegativeFloat, BeforeValidator(_time, json_schema_input_type=float | str)]
"""Seconds, or text such as 20m."""


class StepConfig(Document):
    """What is known of a step's jobs. Every field is optional, and wins over what the workflow says."""

    duration: Time | None = Field(None, description="How long one job takes: seconds, or 90s, 20m, 1h30m.")
    spread: Time | None = Field(None, description="Standard deviation of that.")
    width: PositiveInt | None = Field(None, description="How many jobs the step has, where the inputs don't tell.")
    cores: PositiveInt | None = Field(None, description="Cores of a job, shared by its tasks.")
    memory: NonNegativeInt | None = Field(None, description="MiB of a job.")
    gpus: NonNegativeInt | None = Field(None, description="GPUs of a job, shared by its tasks.")
    nodes: PositiveInt | None = Field(None, description="Nodes that a job's tasks are spread over evenly.")
    tasks: PositiveInt | None = Field(None, description="Processes that a job starts.")
    exclusive: bool | None = Field(None, description="No other job on a job's nodes.")
    flavour: Name | Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="The flavour of node that a job wants, or several that will do."
    )
    group: Name | None = Field(None, description="Steps with equal groups share one MiniCluster, with no other step.")

    @property
    def flavours(self) -> list[str]:
        """`flavour` as a list."""
        if self.flavour is None:
            return []
        return [self.flavour] if isinstance(self.flavour, str) else list(self.flavour)


def concerns(pattern: str, step: str) -> bool:
    """Whether a key of `steps` is about a step: it is its path, that of a workflow around it, or a pattern."""
    if any(letter in pattern for letter in "*?["):
        return fnmatchcase(step, pattern)
    path = PurePosixPath(pattern)
    return path == PurePosixPath(step) or path in PurePosixPath(step).parents


def of_step(steps: dict[str, StepConfig], step: str) -> tuple[StepConfig, dict[str, str]]:
    """What holds for a step: of each field the most specific key; and the keys, by field.

    A path goes before a pattern, a longer one before a shorter.
    """
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for key in sorted((k for k in steps if concerns(k, step)), key=lambda k: (not any(c in k for c in "*?["), len(k))):
        for name in steps[key].model_fields_set:
            value = getattr(steps[key], name)
            if value is not None:
                found[name], said[name] = value, key
    return StepConfig.model_construct(_fields_set=set(found), **found), said
