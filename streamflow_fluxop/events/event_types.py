"""What happens in a run, as the event log has it: one JSON object a line, told apart by `event`.

A MiniCluster's name stands for one MiniCluster at a time: it may be asked for again when it is gone. A job's name
is unique among the jobs of its fleet that are under way: a job that is tried again is asked for again.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, RootModel

from streamflow_fluxop.model import Document, Flavour, Limits, Needs, Plan


class _Happening(Document):
    at: NonNegativeFloat = Field(
        0.0, description="Seconds since the run's start, on a monotonic clock; the log fills it in."
    )


class _OfFleet(_Happening):
    deployment: str = Field("", description="The fleet; the log fills it in.")


class RunStarted(_Happening):
    """The first line of every log."""

    event: Literal["run-started"] = "run-started"
    version: Literal["1"] = "1"
    run: str = Field(min_length=1, description="The run's id: when it started, and a few random letters.")
    started: AwareDatetime = Field(description="The wall clock at 0 s.")
    file: str | None = Field(None, description="The StreamFlow file, or what else was run.")
    host: str = Field(description="The controller's machine.")
    pid: PositiveInt = Field(description="The controller's process.")
    pid_started: float | None = Field(
        None, description="When that process was started, in seconds since 1970: ids are used again."
    )
    resumes: str | None = Field(None, description="The run that it goes on with, where the user said so.")
    simulated: bool = Field(False, description="Nothing was really run: `at` is simulated time.")


class FleetStarted(_OfFleet):
    """A fleet is ready to take jobs."""

    event: Literal["fleet-started"] = "fleet-started"
    cluster: str = Field("", description="Where its MiniClusters run: `local`, `kubernetes`.")
    external: bool = Field(False, description="Others made its MiniClusters, and they stay when the run is over.")
    flavours: dict[str, Flavour]
    limits: Limits = Limits()
    plan: Plan | None = Field(None, description="What was planned; its times count from this event.")
    workflows: dict[str, str] = Field(
        {}, description="The workflows that it runs, by what the names of their steps begin with: their CWL files."
    )
    tools: dict[str, str] = Field({}, description="What each step runs, by its name, where there is no plan.")
    budget: NonNegativeFloat | None = Field(None, description="What it may cost at most.")
    deadline: NonNegativeFloat | None = Field(None, description="Seconds from this event in which it has to be over.")


class _OfMiniCluster(_OfFleet):
    minicluster: str = Field(min_length=1, description="Its name.")


class MiniClusterAsked(_OfMiniCluster):
    """A MiniCluster is asked for: from now on it counts against the limits, and costs."""

    event: Literal["minicluster-asked"] = "minicluster-asked"
    flavour: str
    size: PositiveInt = Field(description="Nodes.")
    max_size: PositiveInt | None = Field(None, description="Nodes that it may grow to; absent: it keeps its size.")
    image: str | None = None
    group: str | None = Field(None, description="The group that it is for, where that has another name.")
    reason: str = ""


class MiniClusterProgress(_OfMiniCluster):
    """How far the bring-up is, in words: `3 of 8 pods run`."""

    event: Literal["minicluster-progress"] = "minicluster-progress"
    message: str


class MiniClusterUp(_OfMiniCluster):
    """It takes jobs."""

    event: Literal["minicluster-up"] = "minicluster-up"
    seconds: NonNegativeFloat = Field(description="Since it was asked for.")
    nodes: PositiveInt = Field(description="As its scheduler sees them.")
    backend: str = Field("", description="What schedules its jobs: `Flux 0.88.0`, `the embedded scheduler`.")


class MiniClusterNodes(_OfMiniCluster):
    """So many of its nodes are there, such as pods in Kubernetes.

    Where this is said of a MiniCluster, these nodes are what costs; else all that are asked for, until they are gone.
    """

    event: Literal["minicluster-nodes"] = "minicluster-nodes"
    nodes: NonNegativeInt


class MiniClusterResizing(_OfMiniCluster):
    """Another size is asked for. Nodes that join cost from now on."""

    event: Literal["minicluster-resizing"] = "minicluster-resizing"
    size: PositiveInt = Field(description="Nodes that are wanted.")
    reason: str = ""


class MiniClusterResized(_OfMiniCluster):
    """Its size is what is said here. Nodes that have left cost nothing any more."""

    event: Literal["minicluster-resized"] = "minicluster-resized"
    size: PositiveInt = Field(description="Nodes that it has.")
    reason: str | None = Field(None, description="Why that is not what was wanted.")


class MiniClusterTearingDown(_OfMiniCluster):
    """It is given up: no job starts there any more."""

    event: Literal["minicluster-tearing-down"] = "minicluster-tearing-down"
    reason: str = ""


class MiniClusterGone(_OfMiniCluster):
    """It is gone: it counts and costs no longer."""

    event: Literal["minicluster-gone"] = "minicluster-gone"


class MiniClusterLost(_OfMiniCluster):
    """It could not be brought up, or has ended by itself; it counts until it is gone."""

    event: Literal["minicluster-lost"] = "minicluster-lost"
    reason: str


WaitReason = Literal["reserved", "planned", "leaving", "size", "queue", "image", "binding"]


class JobsWait(_OfMiniCluster):
    """Jobs wait although nodes of this MiniCluster are idle, and why; said again when the reason changes."""

    event: Literal["jobs-wait"] = "jobs-wait"
    jobs: NonNegativeInt = Field(description="That wait; 0: none any more, or no node is idle.")
    idle: NonNegativeInt = Field(0, description="Nodes.")
    job: str | None = Field(None, description="The first of the jobs.")
    reason: WaitReason | None = Field(
        None,
        description="Why it does not start there: the nodes are kept for what the plan has before it; nothing has "
        "deviated from the plan, which has it later or elsewhere; the nodes leave; it needs more nodes; other jobs go "
        "first; the image, or the binding or group, is another.",
    )
    kept_for: str | None = Field(None, description="The step, or the job, that goes first.")
    expected_in: NonNegativeFloat | None = Field(
        None, description="Seconds after which that, or what the job waits for, is expected; absent: nobody knows."
    )
    message: str = Field("", description="The reason in words.")


class _OfJob(_OfFleet):
    job: str = Field(min_length=1, description="Its name, such as `/analysis/0.3`.")


class JobAsked(_OfJob):
    """A job's inputs are there: it wants to run."""

    event: Literal["job-asked"] = "job-asked"
    step: str | None = Field(None, description="That it is a job of, as the plan names it.")
    minicluster: str | None = Field(None, description="Where it is to run, if that is known yet.")
    nodes: PositiveInt = Field(1, description="That it occupies, wholly or in part.")
    cores: NonNegativeInt = Field(1, description="That it occupies on all nodes; exclusive jobs: all that there are.")
    gpus: NonNegativeInt = Field(0, description="That it occupies on all nodes.")
    memory: NonNegativeInt | None = Field(None, description="MiB that it asks for; absent: nobody knows.")
    input_bytes: NonNegativeInt | None = Field(
        None, description="Bytes of the files that it gets; absent: nobody knows."
    )

    @classmethod
    def of(
        cls,
        job: str,
        needs: Needs,
        flavour: Flavour,
        step: str | None,
        minicluster: str | None = None,
        input_bytes: int | None = None,
    ) -> JobAsked:
        """A job with these needs, on nodes of this flavour."""
        nodes = needs.nodes_on(flavour) or 1
        return cls(
            job=job,
            step=step,
            minicluster=minicluster,
            nodes=nodes,
            cores=nodes * flavour.cores if needs.exclusive else needs.tasks * needs.cores_per_task,
            gpus=needs.tasks * needs.gpus_per_task,
            memory=needs.memory,
            input_bytes=input_bytes,
        )


class JobSubmitted(_OfJob):
    """It is in the queue of a MiniCluster."""

    event: Literal["job-submitted"] = "job-submitted"
    minicluster: str


class JobStarted(_OfJob):
    """Its processes run."""

    event: Literal["job-started"] = "job-started"


class JobEnded(_OfJob):
    """It is over, or was given up before it started."""

    event: Literal["job-ended"] = "job-ended"
    exit_code: int | None = Field(None, description="Absent: it never ran, or nobody knows.")
    reason: str | None = Field(None, description="What went wrong, if it is not its command's own doing.")
    failed: bool | None = Field(None, description="Absent: if its exit code is not 0, or there is a reason.")
    peak_memory: NonNegativeInt | None = Field(
        None,
        description="MiB that the largest process of each of its tasks had at most, tasks added up; absent: nobody "
        "measured it.",
    )
    cpu_seconds: NonNegativeFloat | None = Field(
        None, description="CPU time of all its processes; absent: nobody measured it."
    )
    said: str | None = Field(None, description="The end of what it wrote on standard error, if it failed.")


class JobReused(_OfJob):
    """It need not run, as one that would do the same has succeeded before: what that left is there instead."""

    event: Literal["job-reused"] = "job-reused"
    run: str = Field(description="The run in which that was.")
    of: str = Field(description="That job's name.")
    seconds: NonNegativeFloat = Field(description="That it ran.")


class ImageGot(_OfFleet):
    """The image of jobs' containers is there."""

    event: Literal["image-got"] = "image-got"
    image: str = Field(min_length=1, description="Its name.")
    source: str = Field("", description="Where it comes from.")
    engine: str = Field("", description="What runs it, such as `podman`.")
    digest: str | None = Field(None, description="As the engine says it; absent: it says none.")
    fetched: bool = Field(False, description="Whether it had to be got.")
    seconds: NonNegativeFloat = Field(0.0, description="That it took.")


class Forecast(_OfFleet):
    """What the fleet is expected to come to now, where there is a budget or a deadline."""

    event: Literal["forecast"] = "forecast"
    cost: NonNegativeFloat
    makespan: NonNegativeFloat = Field(description="Seconds from the fleet's start to the end of its last job.")


class ForecastPassed(_OfFleet):
    """The forecast has passed the budget or the deadline."""

    event: Literal["forecast-passed"] = "forecast-passed"
    what: Literal["budget", "deadline"]
    forecast: NonNegativeFloat = Field(description="A cost, or seconds.")
    allowed: NonNegativeFloat
    message: str = Field(description="That, and what would help.")


class BudgetReached(_OfFleet):
    """The run is being stopped at its budget: nothing new starts."""

    event: Literal["budget-reached"] = "budget-reached"
    cost: NonNegativeFloat = Field(description="Until now.")
    budget: NonNegativeFloat
    reason: str


class FleetEnded(_OfFleet):
    """All MiniClusters of a fleet are gone."""

    event: Literal["fleet-ended"] = "fleet-ended"
    miniclusters: NonNegativeInt = Field(description="How many were asked for.")
    node_seconds: NonNegativeFloat
    cost: NonNegativeFloat


class RunEnded(_Happening):
    """The last line of a run that ended in order."""

    event: Literal["run-ended"] = "run-ended"
    exit_code: int | None = Field(
        None, description="0: all went well; 3: stopped at its budget; 130: Ctrl-C; 143: SIGTERM."
    )
    reason: str | None = Field(None, description="Why it did not succeed.")


Event = (
    RunStarted
    | FleetStarted
    | MiniClusterAsked
    | MiniClusterProgress
    | MiniClusterUp
    | MiniClusterNodes
    | MiniClusterResizing
    | MiniClusterResized
    | MiniClusterTearingDown
    | MiniClusterGone
    | MiniClusterLost
    | JobsWait
    | JobAsked
    | JobSubmitted
    | JobStarted
    | JobEnded
    | JobReused
    | ImageGot
    | Forecast
    | ForecastPassed
    | BudgetReached
    | FleetEnded
    | RunEnded
)


class EventLine(RootModel[Annotated[Event, Field(discriminator="event")]]):
    """A line of the event log."""
