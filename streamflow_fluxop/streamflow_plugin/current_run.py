"""What is known of a `streamflow run`: its fleets, their groups, and where each job goes.

StreamFlow gives neither its file nor its workflow to connectors and policies. The check before the run
(`preflight`) has both, and leaves the result here, in a context variable that every task of the run inherits.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from streamflow.core.exception import UnrecoverableWorkflowException

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.containers import Container, Engine, Image
from streamflow_fluxop.cwl import ResourceRequest
from streamflow_fluxop.errors import FluxopError, UserError
from streamflow_fluxop.grouping import Group, cheapest_flavour
from streamflow_fluxop.model import Duration, Needs, Plan, Step
from streamflow_fluxop.reuse.results import Scope
from streamflow_fluxop.streamflow_plugin.plan_log import plan_table
from streamflow_fluxop.streamflow_plugin.recording import Recording

_UNREAD = ResourceRequest(at_run_time=frozenset({"cores", "memory"}))
"""Of a step that only StreamFlow could read."""


class InfeasibleJob(UserError, UnrecoverableWorkflowException):
    """A job whose needs, known only now, no flavour of the fleet meets."""


@dataclass(frozen=True)
class StepRun:
    """What the fleet knows of a step: its group (None if it was not expected to run), and what its CWL asks for.

    Its name is unique among the steps of all workflows.
    """

    name: str
    group: str | None
    asked: ResourceRequest
    stderr_declared: bool
    success_codes: frozenset[int] = frozenset({0})

    def needs(self, cores: float, memory: float) -> Needs:
        """The needs of a job, of which StreamFlow has evaluated cores and memory (MiB)."""
        late = self.asked.at_run_time
        return self.asked.needs(cores=cores if "cores" in late else None, memory=memory if "memory" in late else None)


@dataclass(frozen=True)
class JobPlacement:
    """Where a job runs, and what it asks Flux for."""

    group: str
    step: str
    needs: Needs
    merge_stderr: bool
    success_codes: frozenset[int] = frozenset({0})
    input_bytes: int | None = None
    container: Container | None = None


@dataclass
class FleetRun:
    """One deployment of type `minicluster` in a run.

    Attributes:
        plan: what was planned; None: MiniClusters come when jobs need them.
        steps: all steps of the workflows that use the fleet, in the planner's words; those that run elsewhere too.
        open_ended: names of those that may be skipped, or run more than once.
        workflow: names of the workflows that use the fleet, for labels.
        files: their CWL files, by what the names of their steps begin with.
        workflows: for each workflow of the StreamFlow file, in its order, that uses the fleet: its steps by path.
            None for a step that runs beside StreamFlow.
        reusable: how many jobs of each step the plan leaves out, as their results may be there; less those reused.
        engine: what runs its jobs' containers; None: nobody has looked yet, or there is none.
        no_engine: there is none.
        controller: stands for the machine that runs StreamFlow, where ExpressionTools are evaluated; no group can
            have this name.
    """

    controller: ClassVar[str] = "_controller"

    deployment: str
    config: FleetConfig
    groups: dict[str, Group] = field(default_factory=dict)
    plan: Plan | None = None
    steps: list[Step] = field(default_factory=list)
    open_ended: frozenset[str] = frozenset()
    workflow: str = ""
    files: dict[str, str] = field(default_factory=dict)
    workflows: list[dict[str, StepRun | None]] = field(default_factory=list)
    placements: dict[str, JobPlacement] = field(default_factory=dict)
    reusable: dict[str, int] = field(default_factory=dict)
    engine: Engine | None = None
    no_engine: bool = False
    _index: dict[int, int] = field(default_factory=dict)

    @property
    def runs_containers(self) -> bool:
        """Whether its jobs run in containers, as far as anybody knows."""
        return self.config.cluster != "kubernetes" and self.config.containers != "none" and not self.no_engine

    @cached_property
    def durations(self) -> dict[str, Duration]:
        """What the plan expects of a job of each step."""
        return {s.name: s.duration for s in self.plan.problem.workflow.steps} if self.plan else {}

    @cached_property
    def tools(self) -> dict[str, str]:
        """What each step runs, by its name."""
        return {s.name: s.tool for s in self.steps if s.tool}

    def location(self, group: str) -> str:
        """The name of a group's location: unique over all deployments, as StreamFlow needs it."""
        return f"{self.deployment}.{group}"

    def group_at(self, location: str) -> str:
        """The group whose location this is."""
        return location.removeprefix(f"{self.deployment}.")

    def describe(self) -> str:
        """The plan as a short table, or the groups with their MiniClusters and steps, a line each."""
        if self.plan is not None:
            return plan_table(self.plan)
        return "\n".join(
            f"  MiniCluster {g.name}: {g.size} x {g.flavour}{f' with image {g.image}' if g.image else ''}"
            f" for {', '.join(g.steps) or 'whatever comes'}"
            for g in self.groups.values()
        )

    def alone(self) -> dict[str, int]:
        """The groups with `lifetime: job`, with the nodes that a job of theirs asks for."""
        needs = {step.name: step.needs for step in self.steps}
        return {
            g.name: max((needs[s].nodes_on(self.config.flavours[g.flavour]) or 1 for s in g.steps), default=1)
            for g in self.groups.values()
            if self.config.is_alone(g.named)
        }

    def place(
        self,
        job: str,
        step: str,
        workflow: int,
        cores: float,
        memory: float,
        *,
        tried_again: bool = False,
        input_bytes: int | None = None,
    ) -> str:
        """Choose the group of a job.

        Args:
            job: its name, such as `/step/0.3`.
            step: the step's path.
            workflow: StreamFlow's id of the workflow. Workflows of one file run one after the other, in its order,
                with equal job names.
            cores: of the whole job, as its ResourceRequirement says now that its inputs are known.
            memory: of the whole job, in MiB, likewise.
            tried_again: it has failed, or what it made is lost; StreamFlow makes a workflow of its own for that.
            input_bytes: of the files that it gets; None where nobody knows.

        Returns:
            The group's name, or `controller`.

        Raises:
            InfeasibleJob: no flavour meets the job's needs; StreamFlow would wait for ever.
        """
        known = self._steps_of(workflow, tried_again).get(step, StepRun("", None, _UNREAD, stderr_declared=True))
        if known is None:
            return self.controller
        needs = known.needs(cores, memory)
        if known.group is not None and self.config.is_alone(self.groups[known.group].named):
            needs = needs.model_copy(update={"exclusive": True})
        group = self._group_for(needs, known.group, step)
        self.placements[job] = JobPlacement(
            group=group.name,
            step=known.name,
            needs=needs,
            merge_stderr=known.stderr_declared,
            success_codes=known.success_codes,
            input_bytes=input_bytes,
            container=self._container(known),
        )
        return group.name

    def images(self) -> dict[Image, list[str]]:
        """The images of jobs' containers, in the order of the steps, each with the steps that run in it."""
        found: dict[Image, list[str]] = {}
        for known in (s for steps in self.workflows for s in steps.values()):
            if known is not None and known.group is not None and (container := self._container(known)) is not None:
                found.setdefault(container.image, []).append(known.name)
        return found

    def _container(self, step: StepRun) -> Container | None:
        """The container of a step's jobs, as its CWL and the fleet's `image` and `groups` say; None in Kubernetes."""
        known = {s.name: s for s in self.steps}.get(step.name) or Step(name="/", duration=Duration(seconds=0))
        return self.config.container(step.asked.container, known)

    def _steps_of(self, workflow: int, tried_again: bool) -> dict[str, StepRun | None]:
        if workflow not in self._index:
            last = max(self._index.values(), default=-1)
            self._index[workflow] = last if tried_again else last + 1
        index = self._index[workflow]
        return self.workflows[index] if 0 <= index < len(self.workflows) else {}

    def _group_for(self, needs: Needs, wanted: str | None, step: str) -> Group:
        def suits(group: Group) -> bool:
            most = max(group.size, group.max_size or 0)
            return (needs.nodes_on(self.config.flavours[group.flavour]) or most + 1) <= most

        if wanted is not None and suits(self.groups[wanted]):
            return self.groups[wanted]
        image = self.groups[wanted].image if wanted is not None else None
        others = {g.flavour: g for g in self.groups.values() if suits(g) and (wanted is None or g.image == image)}
        best = cheapest_flavour(needs, self.config, others) if others else None
        if best is not None:
            return others[best]
        sizes = "; ".join(
            f"{g.name}: {g.size} x {g.flavour} ({f.cores} cores, {f.memory} MiB, {f.gpus} GPUs)"
            for g in self.groups.values()
            for f in [self.config.flavours[g.flavour]]
        )
        raise InfeasibleJob(
            f"no MiniCluster of the fleet can run a job of step {step}, which needs {needs.in_words()}",
            where=f"deployment {self.deployment}",
            fix=f"There are {sizes}. Say what it needs at most in a fluxop:FluxRequirement, or add a larger flavour.",
        )


@dataclass
class Run:
    """All fleets of a run, by deployment, whose results it may use, and what happens in it."""

    fleets: dict[str, FleetRun]
    reused: Scope = field(default_factory=Scope)
    recording: Recording = field(default_factory=Recording)


_current: ContextVar[Run | None] = ContextVar("streamflow_fluxop_run", default=None)


def set_current_run(run: Run) -> None:
    """Make `run` the one that connectors and policies of this task, and of those it starts, work for."""
    _current.set(run)


def current_run() -> Run:
    """The run that the current task works for.

    Raises:
        FluxopError: the StreamFlow file was not read through StreamFlow's validator.
    """
    run = _current.get()
    if run is None:
        raise FluxopError("no StreamFlow file has been checked in this context: read it with SfValidator first")
    return run
