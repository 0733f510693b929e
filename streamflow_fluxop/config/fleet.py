"""The configuration of a deployment of type `minicluster`: one deployment is one fleet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, StringConstraints, model_validator

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.config.reuse import ReuseConfig
from streamflow_fluxop.config.ssh import SSHConfig
from streamflow_fluxop.config.steps import StepConfig
from streamflow_fluxop.containers import Container, Image
from streamflow_fluxop.model import Document, Flavour, Limits, Step
from streamflow_fluxop.planning.strategies import names

SCHEMA_ID = "urn:streamflow-fluxop:schema:connector:minicluster:1"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Short enough, and made of such letters, that Kubernetes' object and host names can derive from it."""

if TYPE_CHECKING:
    StrategyName = str
else:
    StrategyName = Literal[names() + ("dynamic",)]  # noqa: RUF005 - mypy takes the star for one of Python 3.11
"""How to plan: the name of a strategy, or `dynamic`, which is none."""

LEAD_TIMES = {"local": (1.0, 1.0), "ssh": (5.0, 2.0), "kubernetes": (60.0, 30.0)}
"""Seconds that a bring-up and a tear-down take where a flavour does not say: processes of this machine, of another one,
and pods with the nodes for them."""


class GroupConfig(Document):
    """A group that the user defines: bindings name it as `service`, steps in `fluxop:FluxRequirement`."""

    flavour: Name = Field(description="The flavour of the group's nodes.")
    size: PositiveInt | None = Field(
        None, description="Nodes of the group's MiniCluster; absent: as many as its steps use."
    )
    image: str | None = Field(None, description="Container image of the group's MiniCluster; absent: its steps' own.")
    lifetime: Literal["fleet", "job"] = Field(
        "fleet",
        description="`fleet`: its steps' jobs share a MiniCluster, which the fleet brings up and takes down; "
        "`job`: each job gets one of its own; with `limits.miniclusters`, one job after the other.",
    )


class Storage(Document):
    """Where the work directory lies that all MiniClusters share."""

    path: Annotated[str, StringConstraints(pattern=r"^/")] | None = Field(
        None,
        description="Directory that every MiniCluster sees at this path; absent: the deployment's workdir, "
        "or where the pods mount the shared volume.",
    )
    controller: bool | None = Field(
        None,
        description="Whether the machine that runs streamflow sees the same files at the same path; "
        "absent: it does where cluster is local.",
    )


class PlanOptions(Document):
    """What the plan assumes and wants."""

    strategy: StrategyName = Field(
        "auto",
        description="How to plan: `auto` is the best of all; `dynamic` plans nothing, and MiniClusters come when jobs "
        "need them; the others are those of `fluxop plan --strategy`.",
    )
    objective: Literal["cost", "makespan", "balanced"] = Field("balanced", description="What is to be small.")
    weight: float = Field(0.5, ge=0, le=1, description="Share of the cost in a balanced objective.")
    deadline: PositiveFloat | None = Field(None, description="Seconds in which all jobs have to be over.")
    budget: NonNegativeFloat | None = Field(None, description="What the run may cost at most, in your currency.")
    on_budget: Literal["stop", "warn"] = Field(
        "stop",
        description="At the budget: `stop` the run so early that the total does not pass it, or only `warn`.",
    )
    time_limit: PositiveFloat | None = Field(
        None,
        description="How much to search for a plan, in seconds of a slow machine; absent: a tenth of what the longest "
        "chain of steps takes, 0.5 at least and 5 at most.",
    )
    seed: int = Field(0, description="Equal seeds give equal plans.")
    duration: PositiveFloat = Field(60.0, description="Seconds that a job is assumed to run when nothing tells.")
    width: PositiveInt = Field(1, description="Jobs that a scatter is assumed to have when nothing tells.")
    javascript: bool = Field(
        True,
        description="Whether JavaScript of the CWL is evaluated before the run, in a process that can only compute; "
        "where not, what hangs on it is known at run time only.",
    )
    web: bool = Field(
        False,
        description="Whether the check before a run reads CWL documents on the web; for `fluxop plan` say `--web`.",
    )
    history: bool | str = Field(
        True,
        description="Whether the event logs of past runs, and else StreamFlow's database, tell durations; "
        "or the path of a folder of logs, or of a database, whose durations then win over hints.",
    )


class FleetConfig(Document):
    """A fleet: where its MiniClusters run, of which flavours they can be, and what they may hold together.

    Raises:
        pydantic.ValidationError: on a missing or unknown key, or a value of a wrong type.
    """

    cluster: Literal["local", "kubernetes", "ssh"] = Field(
        description="Where MiniClusters run: `local`, on this machine, `kubernetes`, through the Flux Operator, "
        "or `ssh`, on another host."
    )
    flavours: dict[Name, Flavour] = Field(min_length=1, description="The kinds of nodes, by name.")
    limits: Limits = Field(default_factory=Limits, description="What the fleet may hold at any moment.")
    groups: dict[Name, GroupConfig] = Field({}, description="Groups that you define yourself, by name.")
    storage: Storage = Field(default_factory=Storage, description="The work directory that all MiniClusters share.")
    image: str | None = Field(None, description="Container image of steps that have no DockerRequirement.")
    containers: Literal["auto", "none", "apptainer", "singularity", "podman", "docker", "charliecloud"] = Field(
        "auto",
        description="Where cluster is local or ssh: the engine that runs the images of steps, `none`, or `auto`: the "
        "first of them that works there. In Kubernetes the pods of a MiniCluster have the image of its steps.",
    )
    kubernetes: KubernetesConfig = Field(
        default_factory=KubernetesConfig, description="Where cluster is kubernetes: how to reach it, and what pods get."
    )
    ssh: SSHConfig | None = Field(None, description="Where cluster is ssh: how to reach the host.")
    flux_uri: str | None = Field(
        None,
        description="With `external: true`, where cluster is local or ssh: the Flux instance to attach to, "
        "as that machine names it.",
    )
    plan: PlanOptions = Field(default_factory=PlanOptions, description="What the plan assumes.")
    steps: dict[Annotated[str, StringConstraints(pattern=r"^[/*]")], StepConfig] = Field(
        {},
        description="What is known of single steps, over what the workflow says: by a step's path, that of a workflow "
        "around it, or a pattern such as `/qc/*`. `fluxop estimates` prints it from past runs.",
    )
    scheduler: Literal["auto", "flux", "embedded"] = Field(
        "auto",
        description="What runs the jobs of a local MiniCluster: `flux`, `embedded` (for trying out), or `auto`: "
        "Flux wherever it is on the PATH.",
    )
    preserve_environment: list[str] = Field(
        [],
        description="Where cluster is local: variables that jobs get from this program's environment beside those that "
        "they need to start; names, or patterns such as `OMP_*`; `*` is all.",
    )
    reuse: bool | ReuseConfig = Field(
        False,
        description="Whether a job that would do the same as one that succeeded in a past run is not run again; or how "
        "that is found out. `fluxop run --resume` turns it on for one run.",
    )
    bring_up_timeout: NonNegativeFloat = Field(600.0, description="Seconds after which a bring-up has failed.")
    transferBufferSize: PositiveInt = Field(65536, description="Bytes in each piece of a data transfer.")

    @model_validator(mode="before")
    @classmethod
    def _takes_as_long_as_its_cluster_does(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("flavours"), Mapping):
            return data
        up, down = LEAD_TIMES.get(str(data.get("cluster")), LEAD_TIMES["kubernetes"])
        flavours = {
            name: {"bring_up": up, "tear_down": down, **flavour} if isinstance(flavour, Mapping) else flavour
            for name, flavour in data["flavours"].items()
        }
        return {**data, "flavours": flavours}

    @property
    def reusing(self) -> ReuseConfig:
        """`reuse` in full."""
        return ReuseConfig(enabled=self.reuse) if isinstance(self.reuse, bool) else self.reuse

    def is_alone(self, group: str | None) -> bool:
        """Whether each job of a group that the user defined gets a MiniCluster of its own."""
        return group in self.groups and self.groups[group].lifetime == "job"

    @model_validator(mode="after")
    def _has_a_host(self) -> FleetConfig:
        if (self.cluster == "ssh") != (self.ssh is not None):
            raise ValueError("cluster: ssh and the section ssh, with its host, belong together")
        return self

    @model_validator(mode="after")
    def _has_no_containers_in_pods(self) -> FleetConfig:
        if self.cluster == "kubernetes" and self.containers not in ("auto", "none"):
            raise ValueError(f"containers: {self.containers} is for clusters local and ssh: pods have images")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> FleetConfig:
        if both := sorted(self.flavours.keys() & self.groups.keys()):
            raise ValueError(f"{both[0]!r} is the name of a flavour and of a group: give the group another name")
        return self

    @model_validator(mode="after")
    def _limits_allow_each(self) -> FleetConfig:
        for name, flavour in self.flavours.items():
            if self.limits.nodes_of(flavour) == 0:
                raise ValueError(f"the limits allow no node of flavour {name!r}: raise them, or leave the flavour out")
        return self

    @model_validator(mode="after")
    def _groups_are_possible(self) -> FleetConfig:
        for name, group in self.groups.items():
            if group.flavour not in self.flavours:
                raise ValueError(
                    f"group {name!r} names a flavour {group.flavour!r} that is not there: "
                    f"the flavours are {', '.join(self.flavours)}"
                )
            most = self.limits.nodes_of(self.flavours[group.flavour])
            if most is not None and (group.size or 0) > most:
                raise ValueError(f"group {name!r} has {group.size} nodes, but the limits allow {most} {group.flavour}")
        return self

    @model_validator(mode="after")
    def _work_lies_on_the_shared_volume(self) -> FleetConfig:
        path, shared = self.storage.path, self.kubernetes.shared_path
        if self.cluster == "kubernetes" and path is not None:
            if shared is None:
                raise ValueError(f"storage.path is {path}, but no volume of kubernetes.volumes is `shared: true`")
            if not lies_in(path, shared):
                raise ValueError(f"storage.path {path} does not lie on the shared volume, which pods see at {shared}")
        return self

    @property
    def shared_path(self) -> str | None:
        """The directory that all MiniClusters see; None: they share nothing, or (locally) all that the machine has."""
        return self.storage.path or (self.kubernetes.shared_path if self.cluster == "kubernetes" else None)

    def images(self, step: Step, group: str | None = None) -> dict[str, str | None]:
        """What a step's image means: its MiniCluster's own in Kubernetes, else the container of each of its jobs.

        Args:
            step: that names an image, or none.
            group: of the user's, that it is in.

        Returns:
            What `image` and `container` of the step are.
        """
        defined = self.groups[group].image if group in self.groups else None
        named = defined or step.image or step.container or self.image
        if self.cluster == "kubernetes":
            return {"image": named, "container": None}
        return {"image": None, "container": named}

    def container(self, asked: Container | None, step: Step, group: str | None = None) -> Container | None:
        """The container of a step's jobs; None in Kubernetes, or where nobody names an image.

        Args:
            asked: what the step's CWL says.
            step: with its image.
            group: of the user's, that it is in.
        """
        if self.cluster == "kubernetes":
            return None
        if asked is not None and asked.image.pull is None and asked.image.image_id is None:
            return asked
        named = self.images(step, group)["container"]
        if named is None or (asked is not None and named == (asked.image.pull or asked.image.image_id)):
            return asked
        return replace(asked or Container(Image()), image=Image(pull=named))

    @property
    def external(self) -> bool:
        """Whether its MiniClusters are there already: others made them, pay for them and take them down."""
        return self.flux_uri is not None or self.kubernetes.attach is not None

    @property
    def controller_sees_storage(self) -> bool:
        """Whether StreamFlow's own process can read and write the shared work directory."""
        return self.cluster == "local" if self.storage.controller is None else self.storage.controller


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder's or that of something inside, by their words alone."""
    return PurePosixPath(os.path.normpath(path)).is_relative_to(os.path.normpath(folder))


def _plain(schema: Any) -> Any:
    """Write `anyOf: [X, null]` with default null as X: StreamFlow's `ext show` reads no anyOf, YAML users no null."""
    if isinstance(schema, list):
        return [_plain(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {k: _plain(v) for k, v in schema.items()}
    kinds = plain.get("anyOf", [])
    if len(kinds) > 2 and plain.get("default", ...) is None:
        del plain["default"]
        plain["anyOf"] = kinds = [k for k in kinds if k != {"type": "null"}]
    if len(kinds) == 2 and {"type": "null"} in kinds:
        del plain["anyOf"]
        if plain.get("default", ...) is None:
            del plain["default"]
        plain |= next(k for k in kinds if k != {"type": "null"})
    return plain


def connector_schema() -> dict[str, Any]:
    """The configuration's JSON Schema (2020-12), as `schemas/connector.json` has it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **_plain(FleetConfig.model_json_schema()),
    }


if __name__ == "__main__":
    print(json.dumps(connector_schema(), indent=2))
