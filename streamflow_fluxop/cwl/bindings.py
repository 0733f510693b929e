"""Which deployment each step is bound to, by StreamFlow's own rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from streamflow_fluxop.cwl.graph import CWLStep, CWLWorkflow
from streamflow_fluxop.model import Step, Workflow


@dataclass(frozen=True)
class Deployment:
    """A deployment of the StreamFlow file.

    Attributes:
        name: its key under `deployments`.
        type: of its connector, such as `minicluster`.
        config: its connector's configuration.
        workdir: where its jobs work, None where StreamFlow chooses.
        wraps: the deployment that it wraps, if any.
        scheduling_policy: name of its policy, None for StreamFlow's default.
    """

    name: str
    type: str
    config: Mapping[str, Any]
    workdir: str | None = None
    wraps: str | None = None
    scheduling_policy: str | None = None


@dataclass(frozen=True)
class Target:
    """One of a binding's targets.

    Attributes:
        deployment: where.
        service: which part of it: with us a flavour or a group.
        workdir: where the jobs work, None for the deployment's own.
        locations: how many locations each job gets.
        place: where the target is written.
    """

    deployment: Deployment
    service: str | None = None
    workdir: str | None = None
    locations: int = 1
    place: str = ""


@dataclass(frozen=True)
class Binding:
    """The binding that StreamFlow uses for a step.

    Attributes:
        targets: in the order in which StreamFlow tries them; at least one.
        filters: names of binding filters.
        place: where it is written.
        docker: type of the docker translator for the step's containers (`config.docker`); None for the default one.
    """

    targets: tuple[Target, ...]
    filters: tuple[str, ...] = ()
    place: str = ""
    docker: str | None = None

    def to(self, deployment: str) -> Target | None:
        """The first target in a deployment; None where it has none there."""
        return next((t for t in self.targets if t.deployment.name == deployment), None)


LOCAL = Deployment(name="__LOCAL__", type="local", config={})
"""Where StreamFlow runs what no binding names."""


@dataclass(frozen=True)
class BoundWorkflow:
    """A CWL workflow with the binding of each step.

    Attributes:
        cwl: the workflow.
        bindings: by the step's StreamFlow path; of all steps of `cwl`.
    """

    cwl: CWLWorkflow
    bindings: Mapping[str, Binding]

    def deployments(self, type_: str = "minicluster") -> dict[str, Deployment]:
        """The deployments of a type that steps are bound to, by name."""
        targets = (t for b in self.bindings.values() for t in b.targets)
        return {t.deployment.name: t.deployment for t in targets if t.deployment.type == type_}

    def steps_of(self, deployment: str) -> dict[str, CWLStep]:
        """The steps that are bound to a deployment, with whatever other targets beside it."""
        return {name: step for name, step in self.cwl.steps.items() if self.bindings[name].to(deployment)}

    def workflow(self, deployment: str) -> Workflow:
        """The document as the fleet of one deployment plans it.

        `Step.binding` is the service that the step's binding names. Steps that are bound elsewhere order ours and
        need no MiniCluster: they are `controller` steps, with their durations.
        """
        return Workflow(name=self.cwl.name, steps=[self._step(s, deployment) for s in self.cwl.steps.values()])

    def _step(self, step: CWLStep, deployment: str) -> Step:
        target = self.bindings[step.name].to(deployment)
        return step.step(binding=(target.service or "") if target else "", elsewhere=target is None)


class BindingTree:
    """Bindings by step path: the deepest one that is a prefix of a step's path holds (`WorkflowConfig.propagate`)."""

    def __init__(self) -> None:
        self._bindings: dict[PurePosixPath, Any] = {}

    def put(self, path: str, value: Any) -> None:
        """Bind a step, or all steps below a subworkflow; of equal paths the last one holds."""
        self._bindings[PurePosixPath(path)] = value

    def get(self, step: str) -> Any | None:
        """What holds for a step; None where nothing does."""
        path = PurePosixPath(step)
        return next((self._bindings[p] for p in (path, *path.parents) if p in self._bindings), None)
