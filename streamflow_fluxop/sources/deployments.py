"""The fleets of a StreamFlow file: deployments and bindings checked, and the steps that each of them has to run.

`streamflow run` (through `streamflow_plugin.preflight`) and `fluxop plan` read a file through this, so that both
refuse the same mistakes in the same words. It knows StreamFlow's file, not StreamFlow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from streamflow_fluxop.config.fleet import FleetConfig, lies_in
from streamflow_fluxop.config.kubernetes import read_template
from streamflow_fluxop.cwl import BoundWorkflow, StreamFlowFile
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.explain import explain
from streamflow_fluxop.model import Dependency, Step
from streamflow_fluxop.sources.overrides import check, overridden

POLICY = "minicluster"
"""Type of our policy, and of our docker translator."""

_DEPLOYMENT_KEYS = ("type", "config", "workdir", "lazy", "external", "wraps", "scheduling_policy")


class Fleets:
    """The deployments of type `minicluster` of a StreamFlow file.

    Args:
        file: as it was read.
        javascript: False: its workflows' JavaScript is not evaluated, whatever the first fleet's `plan` says.
        web: whether documents on the web are read; None: as the first fleet's `plan` says.

    Attributes:
        configs: of the fleets that are in order, by deployment; empty before `check_deployments`.
    """

    def __init__(self, file: StreamFlowFile, *, javascript: bool = True, web: bool | None = None) -> None:
        self._file = file
        self._javascript = javascript
        self._web = web
        self.configs: dict[str, FleetConfig] = {}

    def check_deployments(self) -> Iterator[UserError]:
        """Check the fleets, each on its own, and fill `configs`: every mistake, with file, line, key and remedy."""
        section = self._file.config.get("deployments") or self._file.config.get("models") or {}
        for name in self._file.fleets:
            yield from self._deployment(name, section[name])

    def reuse(self) -> None:
        """Let the fleets use results of past runs, whatever they say themselves."""
        for name, config in self.configs.items():
            said = config.reusing.model_copy(update={"enabled": True})
            self.configs[name] = config.model_copy(update={"reuse": said})

    def _deployment(self, name: str, entry: Mapping[str, Any]) -> Iterator[UserError]:
        def where(*keys: str | int) -> str:
            return self._file.where("deployments", name, *keys)

        for key in entry:
            if key not in _DEPLOYMENT_KEYS:
                close = get_close_matches(str(key), [*_DEPLOYMENT_KEYS, *FleetConfig.model_fields], n=1)
                hint = f"Did you mean {close[0]!r}? " if close and close[0] != key else ""
                yield UserError(
                    f"unknown key {key!r}",
                    where=where(key),
                    fix=f"{hint}A deployment has {', '.join(_DEPLOYMENT_KEYS)}; the fleet's own keys are under config.",
                )
        try:
            config = FleetConfig.model_validate(_plain(entry.get("config", {})), strict=True)
        except ValidationError as error:
            yield from explain(error, FleetConfig, where, "config")
            return
        try:
            config = self._with_template(config)
        except UserError as error:
            yield UserError(error.what, where=where("config", "kubernetes", "template"), fix=error.fix)
            return
        self.configs[name] = _free(config) if config.external else config
        yield from self._misused(entry, config, where)

    def _with_template(self, config: FleetConfig) -> FleetConfig:
        """The configuration with its template's file read, if it names one: its path counts from our file's folder."""
        template = config.kubernetes.template
        if not isinstance(template, str):
            return config
        read = read_template(Path(os.path.dirname(self._file.path or ""), os.path.expanduser(template)))
        return config.model_copy(update={"kubernetes": config.kubernetes.model_copy(update={"template": read})})

    def _misused(self, entry: Mapping[str, Any], config: FleetConfig, where: Any) -> Iterator[UserError]:
        """Keys that StreamFlow knows and that mean nothing, or something else, for a fleet."""
        if entry.get("wraps") is not None:
            yield UserError("a fleet wraps no other deployment", where=where("wraps"), fix="Leave the key out.")
        kubernetes = config.cluster == "kubernetes"
        key = "kubernetes.attach" if kubernetes else "flux_uri"
        there = config.kubernetes.attach if kubernetes else config.flux_uri
        if bool(entry.get("external")) != (there is not None):
            yield UserError(
                f"an external fleet needs {'the MiniCluster' if kubernetes else 'the Flux instance'} to attach to, and "
                "only an external one has it",
                where=where("external") if entry.get("external") else where("config", *key.split(".")),
                fix=f"Write both `external: true` and config.{key}, or neither: then MiniClusters live as long as "
                "the run.",
            )
        unused = config.flux_uri if kubernetes else config.kubernetes.attach
        if unused is not None:
            yield UserError(
                f"with cluster: {config.cluster} an external fleet is named by {key}",
                where=where("config"),
                fix="Leave the other key out.",
            )
        policies = (self._file.config.get("scheduling") or {}).get("policies") or {}
        policy = entry.get("scheduling_policy")
        if policy is not None and policies.get(policy, {}).get("type", policy) != POLICY:
            yield UserError(
                f"a fleet places its jobs by its plan, not by the policy {policy!r}",
                where=where("scheduling_policy"),
                fix=f"Leave the key out, or name a policy of type {POLICY}.",
            )
        path, workdir = config.shared_path, entry.get("workdir")
        if workdir is not None and not isinstance(workdir, str):
            yield UserError(f"{workdir!r} is no path", where=where("workdir"), fix="Name a directory, or leave it out.")
        elif path and workdir and not lies_in(workdir, path):
            yield UserError(
                f"the workdir {workdir} does not lie in the fleet's shared storage {path}",
                where=where("workdir"),
                fix="Move it there, or leave it out.",
            )

    def read(self, name: str, *, all_given: bool = False) -> BoundWorkflow:
        """Read one of the file's workflows, with what the first fleet's `plan` options assume.

        Args:
            name: of the workflow.
            all_given: whether its inputs have to be complete, as for a run.

        Raises:
            UserError: see `StreamFlowFile.read`.
        """
        options = next(iter(self.configs.values())).plan
        bound = self._file.read(
            name,
            assumed_duration=options.duration,
            assumed_width=options.width,
            all_given=all_given,
            javascript=options.javascript and self._javascript,
            web=options.web if self._web is None else self._web,
        )
        return overridden(bound, self.configs, {name: self._of_steps(name) for name in self.configs})

    def _of_steps(self, deployment: str) -> Callable[..., str]:
        """The place of a key under a fleet's `steps`."""
        return lambda *keys: self._file.where("deployments", deployment, "config", "steps", *keys)

    def check_steps(self, workflows: list[BoundWorkflow]) -> Iterator[UserError]:
        """What fleets say of steps or flavours that are not there."""
        complete = len(workflows) == len(self._file.workflows)
        for name, config in self.configs.items():
            yield from check(workflows, name, config, self._of_steps(name), complete=complete)

    def check_bindings(self, bound: BoundWorkflow) -> Iterator[UserError]:
        """Bindings to our fleets that say what a fleet can't do, each with its place and remedy."""
        yield from self._to_nothing(bound)
        seen = set()
        for step, binding in bound.bindings.items():
            for target in binding.targets:
                if target.deployment.name in self.configs and target.locations != 1 and target.place not in seen:
                    seen.add(target.place)
                    yield UserError(
                        f"{target.locations} locations of a fleet: a job runs in one MiniCluster",
                        where=target.place,
                        fix="Leave `locations` out. How many nodes a job has is said in its step's needs "
                        "(`nodes` in fluxop:FluxRequirement).",
                    )
                image = bound.cwl.steps[step].asked.image
                if target.deployment.name in self.configs and image and binding.docker not in (None, "none", POLICY):
                    yield UserError(
                        f"step {step} would run in a {binding.docker} container inside its MiniCluster, "
                        f"but its image {image} is the MiniCluster's own",
                        where=self._file.where("workflows", bound.cwl.name, "config", "docker"),
                        fix=f"Leave the entry out for this step, or make its type {POLICY}.",
                    )

    def _to_nothing(self, bound: BoundWorkflow) -> Iterator[UserError]:
        """Bindings of steps, or through filters, that are not there."""
        workflow, steps = bound.cwl.name, [PurePosixPath(step) for step in bound.cwl.steps]
        known = {"/", *(str(path) for step in steps for path in (step, *step.parents))}
        filters = self._file.config.get("bindingFilters", {})
        for index, binding in enumerate(self._file.config["workflows"][workflow].get("bindings") or []):
            way = ("workflows", workflow, "bindings", index)
            if "step" in binding and str(PurePosixPath(binding["step"])) not in known:
                close = get_close_matches(binding["step"], known, n=1)
                fix = f"Did you mean {close[0]}? " if close else ""
                fix += f"The steps are: {', '.join(sorted(known))}."
                yield UserError(f"there is no step {binding['step']}", where=self._file.where(*way, "step"), fix=fix)
            for name in binding.get("filters", ()):
                if name not in filters:
                    fix = f"Those under `bindingFilters` are: {', '.join(filters) or 'none'}."
                    where = self._file.where(*way, "filters")
                    yield UserError(f"there is no binding filter {name!r}", where=where, fix=fix)


def require_fleets(file: StreamFlowFile) -> None:
    """Check that there is a fleet in the file.

    Raises:
        UserError: there is none; or the file is the CWL.
    """
    if "cwlVersion" in file.config:
        raise UserError(
            "this is a CWL document, not a StreamFlow file",
            where=file.path,
            fix="Give the StreamFlow file that binds it to a fleet; the README shows one of twenty lines.",
        )
    if not file.fleets:
        deployments = file.config.get("deployments")
        for name, entry in deployments.items() if isinstance(deployments, Mapping) else ():
            kind = entry.get("type") if isinstance(entry, Mapping) else None
            if isinstance(kind, str) and get_close_matches(kind, ["minicluster"], cutoff=0.8):
                where = file.where("deployments", name, "type")
                raise UserError(f"there is no type {kind!r}", where=where, fix="Did you mean 'minicluster'?")
        raise UserError(
            "no deployment of type minicluster",
            where=file.where("deployments"),
            fix="Bind the workflow to one: `type: minicluster`.",
        )


def steps_of(
    deployment: str, config: FleetConfig, workflows: Iterable[BoundWorkflow]
) -> tuple[list[Step], dict[str, str]]:
    """What a fleet has to run, and where each step's needs (or, with a service, its binding) are written, by name.

    Of several workflows, the steps' names begin with the workflow's. A job that gets a MiniCluster of its own shares
    nodes with no other.
    """
    workflows = list(workflows)
    steps: list[Step] = []
    places: dict[str, str] = {}
    for bound in workflows:
        prefix = bound.cwl.name if len(workflows) > 1 else ""
        for step in bound.workflow(deployment).steps:
            steps.append(_alone(_in_its_image(_renamed(step, prefix), config), config))
            binding = bound.bindings[step.name].to(deployment)
            by_service = binding is not None and binding.service is not None
            places[steps[-1].name] = binding.place if by_service and binding else bound.cwl.steps[step.name].place
    return steps, places


def _renamed(step: Step, prefix: str) -> Step:
    after = [Dependency(step=prefix + d.step, each=d.each) for d in step.after]
    return step.model_copy(update={"name": prefix + step.name, "after": after})


def _in_its_image(step: Step, config: FleetConfig) -> Step:
    if config.cluster == "kubernetes" or step.controller:  # there the groups tell it
        return step
    return step.model_copy(update=config.images(step, step.group or step.binding or None))


def _alone(step: Step, config: FleetConfig) -> Step:
    if not config.is_alone(step.group or step.binding):
        return step
    return step.model_copy(update={"needs": step.needs.model_copy(update={"exclusive": True})})


def _free(config: FleetConfig) -> FleetConfig:
    """An external fleet costs nothing and takes no time to come or go: others pay for what is there anyway."""
    nothing = {"price": 0.0, "bring_up": 0.0, "tear_down": 0.0}
    flavours = {name: flavour.model_copy(update=nothing) for name, flavour in config.flavours.items()}
    return config.model_copy(update={"flavours": flavours})


def _plain(value: Any) -> Any:
    """Without the subclasses of dict and list in which ruamel keeps line numbers."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value
