"""The check before the run: nothing starts unless every step has a MiniCluster that can run it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, MutableMapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from streamflow_fluxop.config import FleetConfig
from streamflow_fluxop.cwl import BoundWorkflow, CWLStep, StreamFlowFile, UnreadableCWL
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.explain import explain
from streamflow_fluxop.grouping import Group, group_steps
from streamflow_fluxop.model import Dependency, Step
from streamflow_fluxop.plugin.run import FleetRun, Run, StepRun, set_current_run

logger = logging.getLogger(__name__)

POLICY = "minicluster"

_DEPLOYMENT_KEYS = ("type", "config", "workdir", "lazy", "external", "wraps", "scheduling_policy")


class Preflight:
    """Checks a StreamFlow file that has deployments of type `minicluster`, and fills in what they bring along.

    Args:
        config: the file, as StreamFlow loaded it.
        path: of the file, None where StreamFlow does not tell.
    """

    def __init__(self, config: MutableMapping[str, Any], path: str | None) -> None:
        self._config = config
        self._file = StreamFlowFile.from_config(config, path).with_lines()
        self._fleets: dict[str, FleetConfig] = {}

    @classmethod
    def of(cls, config: Any, path: str | None) -> Preflight | None:
        """None where the file has nothing to do with us, or is too broken to tell: StreamFlow speaks then."""
        deployments = config.get("deployments") if isinstance(config, MutableMapping) else None
        if not isinstance(deployments, MutableMapping):
            return None
        types = [d.get("type") for d in deployments.values() if isinstance(d, MutableMapping)]
        return cls(config, path) if "minicluster" in types else None

    def check_deployments(self) -> None:
        """Check our deployments, each on its own.

        Raises:
            UserErrors: every mistake, with file, line, key and what would be right.
        """
        errors: list[UserError] = []
        for name, entry in self._config["deployments"].items():
            if isinstance(entry, MutableMapping) and entry.get("type") == "minicluster":
                errors += self._deployment(name, entry)
        if errors:
            raise UserErrors(errors)

    def complete(self) -> None:
        """Check bindings and steps, group them, and fill in policy, docker translator and workdir.

        Raises:
            UserErrors: see `check_deployments`.
        """
        runs = {name: FleetRun(name, config) for name, config in self._fleets.items()}
        bound = list(self._workflows())
        errors = [e for b in bound for e in self._bindings(b)]
        for name, run in runs.items():
            try:
                self._plan(run, [b for b in bound if b.steps_of(name)])
            except UserErrors as error:
                errors += error.errors
        if errors:
            raise UserErrors(list({str(e): e for e in errors}.values()))
        self._fill_in()
        set_current_run(Run(runs))

    # deployments

    def _deployment(self, name: str, entry: MutableMapping[str, Any]) -> Iterator[UserError]:
        def where(*keys: str | int) -> str:
            return self._file.where("deployments", name, *keys)

        for key in entry:
            if key not in _DEPLOYMENT_KEYS:
                close = get_close_matches(key, [*_DEPLOYMENT_KEYS, *FleetConfig.model_fields], n=1)
                hint = f"Did you mean {close[0]!r}? " if close and close[0] != key else ""
                yield UserError(
                    f"unknown key {key!r}",
                    where=where(key),
                    fix=f"{hint}A deployment has {', '.join(_DEPLOYMENT_KEYS)}; the fleet's own keys are under config.",
                )
        try:
            config = FleetConfig.model_validate(entry.get("config", {}), strict=True)
        except ValidationError as error:
            yield from explain(error, FleetConfig, where, "config")
            return
        self._fleets[name] = config
        if config.cluster == "kubernetes":
            yield UserError(
                "MiniClusters on Kubernetes are not there yet in this version",
                where=where("config", "cluster"),
                fix="Use cluster: local, which runs them on this machine.",
            )
        yield from self._misused(entry, config, where)

    def _misused(self, entry: MutableMapping[str, Any], config: FleetConfig, where: Any) -> Iterator[UserError]:
        """Keys that StreamFlow knows and that mean nothing, or something else, for a fleet."""
        if entry.get("wraps") is not None:
            yield UserError("a fleet wraps no other deployment", where=where("wraps"), fix="Leave the key out.")
        if entry.get("external"):
            yield UserError(
                "local MiniClusters are never external: they live as long as the run",
                where=where("external"),
                fix="Leave the key out.",
            )
        policies = self._config.get("scheduling", {}).get("policies", {})
        policy = entry.get("scheduling_policy")
        if policy is not None and policies.get(policy, {}).get("type", policy) != POLICY:
            yield UserError(
                f"a fleet places its jobs by its plan, not by the policy {policy!r}",
                where=where("scheduling_policy"),
                fix=f"Leave the key out, or name a policy of type {POLICY}.",
            )
        path, workdir = config.storage.path, entry.get("workdir")
        if path and workdir and os.path.commonpath([path, workdir]) != os.path.normpath(path):
            yield UserError(
                f"the workdir {workdir} does not lie in the fleet's shared storage {path}",
                where=where("workdir"),
                fix="Move it there, or leave it out.",
            )

    # workflows

    def _workflows(self) -> Iterator[BoundWorkflow]:
        options = next(iter(self._fleets.values())).plan
        for name in self._file.workflows:
            try:
                yield self._file.read(name, assumed_duration=options.duration, assumed_width=options.width)
            except UnreadableCWL as error:
                logger.debug("the plugin could not read workflow %s; StreamFlow will say more: %s", name, error)

    def _bindings(self, bound: BoundWorkflow) -> Iterator[UserError]:
        seen = set()
        for step, binding in bound.bindings.items():
            for target in binding.targets:
                if target.deployment.name in self._fleets and target.locations != 1 and target.place not in seen:
                    seen.add(target.place)
                    yield UserError(
                        f"{target.locations} locations of a fleet: a job runs in one MiniCluster",
                        where=target.place,
                        fix="Leave `locations` out. How many nodes a job has is said in its step's needs "
                        "(`nodes` in fluxop:FluxRequirement).",
                    )
                image = bound.cwl.steps[step].asked.image
                if target.deployment.name in self._fleets and image and binding.docker not in (None, "none", POLICY):
                    yield UserError(
                        f"step {step} would run in a {binding.docker} container inside its MiniCluster, "
                        f"but its image {image} is the MiniCluster's own",
                        where=self._file.where("workflows", bound.cwl.name, "config", "docker"),
                        fix=f"Leave the entry out for this step, or make its type {POLICY}.",
                    )

    def _plan(self, run: FleetRun, workflows: list[BoundWorkflow]) -> None:
        """Give every step of the fleet its group."""
        several = len(workflows) > 1
        steps: list[Step] = []
        places: dict[str, str] = {}
        for bound in workflows:
            prefix = bound.cwl.name if several else ""
            for step in bound.workflow(run.deployment).steps:
                steps.append(_renamed(step, prefix))
                binding = bound.bindings[step.name].to(run.deployment)
                by_service = binding is not None and binding.service is not None
                places[steps[-1].name] = binding.place if by_service and binding else bound.cwl.steps[step.name].place
        groups = group_steps(steps, run.config, places)
        of_step = {step: g.name for g in groups for step in g.steps}
        for bound in workflows:
            prefix = bound.cwl.name if several else ""
            run.workflows.append(
                {name: _step_run(s, of_step.get(prefix + name)) for name, s in bound.steps_of(run.deployment).items()}
            )
        run.groups = {g.name: g for g in groups or _one_a_flavour(run.config)}

    # what a fleet brings along

    def _fill_in(self) -> None:
        """What a user would have to write: the policy, and that images are the MiniClusters'."""
        policies = self._config.setdefault("scheduling", {}).setdefault("policies", {})
        policies.setdefault(POLICY, {"type": POLICY, "config": {}})
        for name, fleet in self._fleets.items():
            deployment = self._config["deployments"][name]
            deployment.setdefault("scheduling_policy", POLICY)
            if fleet.storage.path:
                deployment.setdefault("workdir", os.path.join(fleet.storage.path, "streamflow"))
        for name in self._file.workflows:
            docker = self._config["workflows"][name]["config"].setdefault("docker", [])
            if all(entry["step"] != "/" for entry in docker):
                docker.append({"step": "/", "deployment": {"type": POLICY, "config": {}}})


def _renamed(step: Step, prefix: str) -> Step:
    after = [Dependency(step=prefix + d.step, each=d.each) for d in step.after]
    return step.model_copy(update={"name": prefix + step.name, "after": after})


def _step_run(step: CWLStep, group: str | None) -> StepRun | None:
    return None if step.kind == "ExpressionTool" else StepRun(group, step.asked)


def _one_a_flavour(config: FleetConfig) -> list[Group]:
    """Groups for steps that nobody knows: the CWL could not be read, or no step was expected to run."""
    return [Group(name, name, config.limits.nodes_of(f) or 1, config.image) for name, f in config.flavours.items()]
