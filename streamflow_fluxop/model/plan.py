"""The plan: which MiniClusters, of what size and flavour, from when to when, for which jobs, at what cost, and why.

All times are seconds from the start of the plan, at which the first MiniCluster is asked for.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from streamflow_fluxop.model.base import Document
from streamflow_fluxop.model.problem import Problem


class Resize(Document):
    """A change of a MiniCluster's size.

    Nodes join at the end and leave from the end: the one that joined last goes first. A node that joins costs money
    from `at` and takes jobs from `done`; one that leaves takes jobs until `at` and costs money until `done`.
    """

    at: NonNegativeFloat = Field(description="When the size is asked for.")
    done: NonNegativeFloat = Field(
        description="When it is reached: `at` plus bring-up, or plus tear-down, of the flavour."
    )
    size: PositiveInt = Field(description="Nodes from then on.")


class PlannedMiniCluster(Document):
    """A MiniCluster from bring-up to tear-down."""

    name: str = Field(min_length=1, description="Unique in the plan.")
    flavour: str
    image: str | None = None
    binding: str = ""
    group: str | None = Field(None, description="The group that the user named, if it is for one.")
    size: PositiveInt = Field(description="Nodes that it starts with.")
    max_size: PositiveInt = Field(description="Most nodes that it ever has.")
    asked: NonNegativeFloat = Field(description="When it is asked for; it counts against the limits from here.")
    ready: NonNegativeFloat = Field(description="When it takes jobs: `asked` plus the flavour's bring-up.")
    released: NonNegativeFloat = Field(description="When it is given up, at or after the end of its last job.")
    gone: NonNegativeFloat = Field(description="When it stops counting and costing: `released` plus tear-down.")
    resizes: list[Resize] = Field([], description="Changes of size between `ready` and `released`, in order of `at`.")
    node_seconds: NonNegativeFloat = Field(description="Nodes times seconds, from asked for until gone.")
    cost: NonNegativeFloat
    steps: list[str] = Field([], description="The steps that run in it, in order of their first job there.")
    reasons: list[str] = Field([], description="Why it opens, changes, is kept and goes: a short sentence each.")


class Assignment(Document):
    """Jobs of a step that run side by side in one MiniCluster, from `start` to `end`."""

    step: str
    first: NonNegativeInt = Field(0, description="Index of the first job.")
    count: PositiveInt = Field(1, description="How many jobs, with consecutive indices.")
    minicluster: str | None = Field(description="Name of the MiniCluster; null for a controller step.")
    start: NonNegativeFloat
    end: NonNegativeFloat
    nodes: list[NonNegativeInt] = Field(
        description="Ranks of the nodes in the MiniCluster, as many for each job as it occupies, job after job."
    )


class StepEstimate(Document):
    """When a step is expected to run."""

    step: str
    start: NonNegativeFloat = Field(description="Start of its first job.")
    end: NonNegativeFloat = Field(description="End of its last job.")
    miniclusters: list[str] = Field([], description="Where its jobs run.")


class Bounds(Document):
    """What no plan for the problem can be below."""

    cost: NonNegativeFloat
    makespan: NonNegativeFloat
    score: NonNegativeFloat = Field(
        1.0, description="Bound of the balanced objective, which the bounds of cost and makespan normalise."
    )


class Knowledge(Document):
    """What a plan rests on: how much of it is known, and how much is guessed.

    A job's time is a guess where its step's duration, or how many jobs the step has, comes from `assumed`, or its
    duration from a time limit.
    """

    jobs: NonNegativeInt = Field(description="Jobs on MiniClusters.")
    assumed: NonNegativeInt = Field(description="Those of them whose duration is assumed.")
    limited: NonNegativeInt = Field(description="Those of them whose duration is a time limit, an upper bound.")
    least: NonNegativeFloat = Field(0.0, description="Shortest assumed duration, in seconds.")
    most: NonNegativeFloat = Field(0.0, description="Longest assumed duration, in seconds.")
    widths: NonNegativeInt = Field(0, description="Steps of which it is assumed how many jobs they have.")
    chain: float = Field(0.0, ge=0, le=1, description="Share of the makespan's chain, in time, that is guessed.")
    cost: float = Field(0.0, ge=0, le=1, description="Share of the cost that is guessed.")

    @property
    def nothing(self) -> bool:
        """Whether no duration at all is known."""
        return self.jobs > 0 and self.assumed + self.limited == self.jobs

    @property
    def everything(self) -> bool:
        """Whether nothing is guessed."""
        return not (self.assumed or self.limited or self.widths)


class Alternative(Document):
    """What another strategy came to."""

    strategy: str
    miniclusters: NonNegativeInt
    node_seconds: NonNegativeFloat
    cost: NonNegativeFloat
    makespan: NonNegativeFloat


class Plan(Document):
    """What to bring up, when, for what, and why."""

    version: Literal["1"] = "1"
    problem: Problem = Field(description="What the plan is for: with it, the plan can be verified on its own.")
    strategy: str = Field(description="The algorithm whose plan this is.")
    seed: int = 0
    miniclusters: list[PlannedMiniCluster] = Field(description="In order of `asked`.")
    assignments: list[Assignment] = Field(description="In order of `start`.")
    steps: list[StepEstimate] = Field(description="In the workflow's order.")
    cost: NonNegativeFloat
    makespan: NonNegativeFloat = Field(description="End of the last job.")
    node_seconds: NonNegativeFloat
    score: NonNegativeFloat = Field(
        description="The balanced objective: weight * cost / bound + (1 - weight) * makespan / bound."
    )
    bounds: Bounds
    gap: NonNegativeFloat = Field(description="How far the objective is above its bound: 0.05 is 5 %.")
    optimal: bool = Field(False, description="Proved: no plan has a better objective.")
    cut: bool = Field(
        False,
        description="The clock ended the search: on another machine, or at another time, there may be another plan.",
    )
    knowledge: Knowledge | None = Field(None, description="How much of the plan is guessed; null: nobody has looked.")
    assumptions: list[str] = Field([], description="Where the numbers come from.")
    alternatives: list[Alternative] = Field([], description="What other strategies came to, `auto` only.")
