"""From requirements to needs: what one job of a step asks of Flux, its image, and how long it is expected to run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, isfinite
from typing import Any, Literal

from streamflow_fluxop.containers import Container
from streamflow_fluxop.cwl.containers import container_of
from streamflow_fluxop.cwl.hint import CLASS, FluxRequirement
from streamflow_fluxop.cwl.known_values import UNKNOWN
from streamflow_fluxop.cwl.requirements import Requirements
from streamflow_fluxop.cwl.source_location import SourceLocation
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Duration, Needs

Evaluate = Callable[[Any], list[Any]]
"""The values that an expression, or a plain value, has for each job of a step; UNKNOWN where the run tells."""

_DEFAULT_CORES = 1
_DEFAULT_MEMORY = 256
_DEFAULT_MEMORY_V1_0 = 1024


@dataclass(frozen=True)
class ResourceRequest:
    """What a step's CWL asks for.

    Attributes:
        cores: ResourceRequirement's coresMin: of the whole job.
        memory: ResourceRequirement's ramMin, in MiB: of the whole job.
        gpus: CUDARequirement's cudaDeviceCountMin: of the whole job.
        processes: MPIRequirement's processes.
        hint: our own hint as it holds for the step.
        image: DockerRequirement's dockerPull, else its dockerImageId.
        container: all that DockerRequirement says.
        time_limit: ToolTimeLimit's timelimit, in seconds.
        at_run_time: which of `cores`, `memory`, `gpus`, `processes`, `time_limit` depend on values that only the run
            tells, or differ between the step's jobs. Of these the largest value that is known is given, else the
            least that there can be.
        said: where in which file each of the fields above, and each field of the hint, was written.
    """

    cores: int = _DEFAULT_CORES
    memory: int = _DEFAULT_MEMORY
    gpus: int = 0
    processes: int | None = None
    hint: FluxRequirement = field(default_factory=FluxRequirement)
    image: str | None = None
    container: Container | None = None
    time_limit: float | None = None
    at_run_time: frozenset[str] = frozenset()
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def defaults(self) -> list[Literal["cores", "memory"]]:
        """Which needs nobody stated, so that CWL's defaults hold."""
        stated = {"cores": bool({"cores", "coresPerTask"} & self.said.keys()), "memory": "memory" in self.said}
        return [name for name in ("cores", "memory") if not stated[name]]

    def needs(self, *, cores: float | None = None, memory: float | None = None) -> Needs:
        """The needs of one job.

        `tasks` is the hint's, else MPIRequirement's processes, else one for each of the hint's nodes. Cores and GPUs
        of a task are the hint's, else the job's coresMin and cudaDeviceCountMin divided by the tasks and rounded up.

        Args:
            cores: the job's own, as StreamFlow evaluated them (`Hardware.cores`); absent: what the CWL tells.
            memory: the job's own, in MiB (`Hardware.memory`); absent: what the CWL tells.
        """
        hint = self.hint
        tasks = hint.tasks or self.processes or hint.nodes or 1
        job_cores = ceil(self.cores if cores is None else cores)
        return Needs(
            nodes=hint.nodes,
            tasks=tasks,
            cores_per_task=hint.coresPerTask or max(1, ceil(job_cores / tasks)),
            gpus_per_task=ceil(self.gpus / tasks) if hint.gpusPerTask is None else hint.gpusPerTask,
            memory=max(0, ceil(self.memory if memory is None else memory)),
            exclusive=bool(hint.exclusive),
        )

    def duration(self, assumed: float) -> Duration:
        """How long a job is expected to run: the hint, else the time limit (an upper bound), else `assumed` seconds."""
        limit, hint = self.time_limit, self.hint.duration
        if hint is not None:
            seconds = hint if limit is None else min(hint, limit)
            return Duration(seconds=seconds, spread=self.hint.durationSpread or 0.0, source="hint")
        if limit is not None:
            return Duration(seconds=limit, source="time limit")
        return Duration(seconds=assumed, spread=self.hint.durationSpread or 0.0, source="assumed")


def asked(requirements: Requirements, evaluate: Evaluate) -> ResourceRequest:
    """Gather what a step's requirements ask for.

    Args:
        requirements: as they hold for the tool that the step runs.
        evaluate: of an expression, its value for each of the step's jobs.

    Raises:
        UserError: a value that is no number, or too small a one; tasks that can't reach all nodes.
    """
    gather = _Gatherer(requirements, evaluate)
    v1_0 = requirements.version == "v1.0"
    result = ResourceRequest(
        cores=gather.number("cores", "ResourceRequirement", ("coresMin", "coresMax"), _DEFAULT_CORES),
        memory=gather.number(
            "memory", "ResourceRequirement", ("ramMin", "ramMax"), _DEFAULT_MEMORY_V1_0 if v1_0 else _DEFAULT_MEMORY
        ),
        gpus=gather.number("gpus", "CUDARequirement", ("cudaDeviceCountMin", "cudaDeviceCountMax"), 1)
        if requirements.get("CUDARequirement")
        else 0,
        processes=max(1, gather.number("processes", "MPIRequirement", ("processes",), 1))
        if requirements.get("MPIRequirement")
        else None,
        time_limit=gather.number("time_limit", "ToolTimeLimit", ("timelimit",), 0)
        if requirements.get("ToolTimeLimit")
        else None,
        image=gather.image(),
        container=container_of(requirements),
        hint=requirements.hint,
        at_run_time=frozenset(gather.at_run_time),
        said=gather.said | _places_of_hint(requirements),
    )
    if result.time_limit is not None and result.time_limit <= 0:  # CWL 1.2, ToolTimeLimit: zero is no limit
        result = ResourceRequest(**{**vars(result), "time_limit": None})
    _check_reach(result)
    return result


class _Gatherer:
    def __init__(self, requirements: Requirements, evaluate: Evaluate) -> None:
        self.requirements = requirements
        self.evaluate = evaluate
        self.at_run_time: set[str] = set()
        self.said: dict[str, str] = {}

    def number(self, name: str, kind: str, fields: Iterable[str], default: int) -> int:
        """The first of `fields` that is there, rounded up as StreamFlow does; `default` where none is."""
        said = self.requirements.get(kind)
        if said is None:
            return default
        there = {key: value for key in fields if (value := getattr(said.value, key, None)) is not None}
        if not there:
            return default
        key, value = next(iter(there.items()))
        self.said[name] = said.place.at(key)
        _check_range(there, said.place)
        return self._largest(name, value, default)

    def _largest(self, name: str, value: Any, default: int) -> int:
        found = self.evaluate(value) if isinstance(value, str) else [value]
        known = [v for v in found if v is not UNKNOWN and v is not None]
        if wrong := [v for v in known if not (_is_number(v) and v >= 0)]:
            made = f", what {value} comes to," if value != wrong[0] else ""
            raise UserError(
                f"{json.dumps(wrong[0])}{made} is no number of at least 0",
                where=self.said[name],
                fix="Memory is a number of MiB." if name == "memory" else None,
            )
        numbers = {ceil(v) for v in known}
        if len(numbers) != 1 or len(known) < len(found):
            self.at_run_time.add(name)
        return max(numbers, default=default)

    def image(self) -> str | None:
        said = self.requirements.get("DockerRequirement")
        if said is None:
            return None
        for key in ("dockerPull", "dockerImageId"):  # in StreamFlow's order, _process_docker_image
            image = getattr(said.value, key, None)
            if image is not None:
                self.said["image"] = said.place.at(key)
                return str(image)
        return None


def _check_range(there: Mapping[str, Any], place: SourceLocation) -> None:
    """Check that of two plain numbers, `…Min` and `…Max`, the first is not the larger one."""
    numbers = [(k, v) for k, v in there.items() if _is_number(v)]
    if len(numbers) == 2 and numbers[0][1] > numbers[1][1]:
        (low, least), (high, most) = numbers
        raise UserError(f"{low} is {least}, but {high} is {most}", where=place.at(high), fix="Leave one of them out.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _places_of_hint(requirements: Requirements) -> dict[str, str]:
    places = {name: requirements.flux_place(name) for name in FluxRequirement.model_fields}
    return {name: place for name, place in places.items() if place}


def _check_reach(result: ResourceRequest) -> None:
    nodes, tasks = result.hint.nodes, result.hint.tasks or result.processes
    if nodes and tasks and tasks < nodes and "processes" not in result.at_run_time:
        raise UserError(
            f"{tasks} tasks can't reach {nodes} nodes",
            where=result.said.get("tasks") or result.said.get("processes") or result.said["nodes"],
            fix=f"Give fluxop:{CLASS} at least as many tasks as nodes.",
        )
