"""A CWL workflow as a graph of steps with StreamFlow's names, their needs, widths and dependencies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamflow_fluxop.cwl.resource_needs import ResourceRequest
from streamflow_fluxop.cwl.scatter import Known
from streamflow_fluxop.model import Dependency, Duration, Needs, Step, Workflow


@dataclass(frozen=True)
class CWLStep:
    """A step that runs a tool.

    Attributes:
        name: its StreamFlow path, such as `/sub/inner`; its jobs are `/sub/inner/0.3`. A tool that is run alone, with
            no workflow around it, is `/`.
        kind: CommandLineTool, ExpressionTool or Operation (abstract: StreamFlow refuses to run it).
        file: the file that the tool stands in, as a user would type it.
        asked: what its CWL asks for, with the places where it says so.
        jobs: how many jobs it has in all; 0 where its scatter is empty or its `when` is false for sure.
        jobs_source: how that is known.
        scatters: the scattered steps around it, the outermost first, itself included where it scatters.
        may_be_skipped: its `when`, or one around it, is only decided at run time.
        loops: the looping steps around it, itself included; each round runs all of the step's jobs anew, how many
            rounds there are the run tells.
        after: the steps whose outputs it reads.
        duration: how long one job is expected to run.
        stderr_declared: the tool has a place of its own for stderr.
        success_codes: exit codes of the tool that are no failure.
        tool: what it runs, in a word (`tool_identity`); None where nobody knows.
        program: the first word of its command, where that is a plain name of a program; None: nobody knows.
        input_sizes: finds the bytes of the files that each job gets; empty where they are not known.
    """

    name: str
    kind: str
    file: str
    asked: ResourceRequest
    jobs: int
    jobs_source: Known
    scatters: tuple[str, ...]
    may_be_skipped: bool
    loops: tuple[str, ...]
    after: tuple[Dependency, ...]
    duration: Duration
    stderr_declared: bool = False
    success_codes: frozenset[int] = frozenset({0})
    tool: str | None = None
    program: str | None = None
    input_sizes: Callable[[], tuple[int, ...]] = field(default=tuple, compare=False, repr=False)

    @property
    def needs(self) -> Needs:
        """What one job asks for, as far as the CWL and the inputs tell; see `run_time_needs`."""
        return self.asked.needs()

    @property
    def run_time_needs(self) -> frozenset[str]:
        """Which of the needs only the run tells: of the names of `ResourceRequest`."""
        return self.asked.at_run_time

    @property
    def said(self) -> Mapping[str, str]:
        """Where in which file what was said: by the names of `ResourceRequest` and of the hint's fields."""
        return self.asked.said

    @property
    def place(self) -> str:
        """One place to name in a message about the step: where it says what it needs, else its tool's file."""
        wanted = ("tasks", "coresPerTask", "cores", "memory", "gpusPerTask", "gpus", "nodes", "flavour")
        return next((self.said[k] for k in wanted if k in self.said), f"{self.file}: step {self.name}")

    @property
    def controller(self) -> bool:
        """Whether it needs no MiniCluster: an ExpressionTool, or a step that never runs."""
        return self.kind == "ExpressionTool" or self.jobs == 0

    def step(self, *, binding: str = "", elsewhere: bool = False) -> Step:
        """The step of the document.

        Args:
            binding: the service that its binding names.
            elsewhere: it is bound to another deployment: it orders ours and needs no MiniCluster.
        """
        return Step(
            name=self.name,
            needs=self.needs,
            width=max(1, self.jobs),
            width_source=self.jobs_source,
            duration=Duration(seconds=0, source="assumed") if self.controller else self.duration,
            after=list(self.after),
            tool=self.tool,
            image=self.asked.image,
            flavours=self.asked.hint.flavours,
            group=self.asked.hint.group,
            binding=binding,
            defaults=[] if self.kind == "ExpressionTool" else self.asked.defaults,
            skipped=self.jobs == 0,
            controller=elsewhere or self.controller,
        )


@dataclass(frozen=True)
class CWLWorkflow:
    """A CWL workflow, or a tool run alone, as StreamFlow will run it.

    Attributes:
        name: of the workflow in the StreamFlow file.
        file: the CWL file, as a user would type it.
        steps: by StreamFlow path, in the order of the documents, inner steps where their subworkflow stands.
        script: where JavaScript stands that every run has to evaluate; None: there is none, or it may be skipped.
    """

    name: str
    file: str
    steps: Mapping[str, CWLStep]
    script: str | None = None

    @property
    def workflow(self) -> Workflow:
        """The document, with no binding."""
        return Workflow(name=self.name, steps=[s.step() for s in self.steps.values()])
