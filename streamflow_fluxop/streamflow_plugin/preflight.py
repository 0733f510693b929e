"""The check before the run: nothing starts unless every step has a MiniCluster that can run it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.cwl import BoundWorkflow, CWLStep, StreamFlowFile
from streamflow_fluxop.errors import UserError, UserErrors
from streamflow_fluxop.grouping import Group, group_steps, planned_groups
from streamflow_fluxop.model import Plan
from streamflow_fluxop.private import work_folder
from streamflow_fluxop.reuse.results import Scope
from streamflow_fluxop.sources.deployments import POLICY, Fleets, steps_of
from streamflow_fluxop.streamflow_plugin.current_run import FleetRun, Run, StepRun, set_current_run
from streamflow_fluxop.streamflow_plugin.recording import Recording
from streamflow_fluxop.streamflow_plugin.resuming import Resumed, resumed

logger = logging.getLogger(__name__)


class Preflight:
    """Checks a StreamFlow file that has deployments of type `minicluster`, and fills in what they bring along.

    Args:
        config: the file, as StreamFlow loaded it.
        path: of the file, None where StreamFlow does not tell.
    """

    def __init__(self, config: MutableMapping[str, Any], path: str | None) -> None:
        self._config = config
        self._path = path
        self._file = StreamFlowFile.from_config(config, path).with_lines()
        self._fleets = Fleets(self._file)
        self._resumed: Resumed | None = None

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
        errors = list(self._fleets.check_deployments())
        self._resumed = resumed(self._path)
        if self._resumed is not None:
            self._fleets.reuse()
        errors += [e for name, config in self._fleets.configs.items() for e in self._not_here(name, config)]
        errors += self._no_database()
        if errors:
            raise UserErrors(errors)

    def _not_here(self, name: str, config: FleetConfig) -> Iterator[UserError]:
        """What can be planned, but not run on this machine."""
        if config.cluster == "local" and config.scheduler == "flux" and shutil.which("flux") is None:
            yield UserError(
                "there is no `flux` on the PATH",
                where=self._file.where("deployments", name, "config", "scheduler"),
                fix="Install flux-core, or write `scheduler: auto`, which takes the embedded scheduler then.",
            )
        file = config.kubernetes.kubeconfig
        if config.cluster == "kubernetes" and file is not None and not os.path.isfile(os.path.expanduser(file)):
            yield UserError(
                f"there is no kubeconfig {file}",
                where=self._file.where("deployments", name, "config", "kubernetes", "kubeconfig"),
                fix="Name the file that kubectl uses, or leave the key out: then it is KUBECONFIG or ~/.kube/config.",
            )
        for keys, path in self._workdirs(name, config):
            if problem := unusable(path):
                yield UserError(
                    f"the work directory {path} can't be made: {problem}",
                    where=self._file.where(*keys),
                    fix="Name a directory that you may write to.",
                )

    def _no_database(self) -> Iterator[UserError]:
        """StreamFlow's database, where its folder can't be made: StreamFlow ends with a traceback then."""
        from streamflow.persistence.sqlite import DEFAULT_SQLITE_CONNECTION, IN_MEMORY_SQLITE_CONNECTION

        said = self._config.get("database")
        said = said if isinstance(said, MutableMapping) else {}
        options = said.get("config")
        path = options.get("connection") if isinstance(options, MutableMapping) else None
        if said.get("type", "default") not in ("default", "sqlite") or path == IN_MEMORY_SQLITE_CONNECTION:
            return
        folder = os.path.dirname(path if isinstance(path, str) else DEFAULT_SQLITE_CONNECTION) or "."
        try:
            os.makedirs(folder, exist_ok=True)
            problem = unusable(folder)
        except OSError as error:
            problem = f"{error.filename}: {error.strerror}"
        if problem:
            yield UserError(
                f"StreamFlow's database can't be made in {folder}: {problem}",
                where=self._file.where("database") if said else self._path,
                fix="Set HOME to a directory that you may write to, or name another file: "
                "`database: {type: default, config: {connection: …}}`.",
            )

    def _workdirs(self, name: str, config: FleetConfig) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """The work directories that the file names and that this machine sees, and where it names them."""
        if not config.controller_sees_storage:
            return
        if config.storage.path:
            yield ("deployments", name, "config", "storage", "path"), config.storage.path
        elif (workdir := self._config["deployments"][name].get("workdir")) and isinstance(workdir, str):
            yield ("deployments", name, "workdir"), workdir

    def complete(self) -> None:
        """Check bindings and steps, group them, and fill in policy, docker translator and workdir.

        Raises:
            UserErrors: see `check_deployments`.
        """
        runs = {name: FleetRun(name, config) for name, config in self._fleets.configs.items()}
        bound, errors = self._workflows()
        errors += [e for b in bound for e in (*self._fleets.check_bindings(b), *_no_javascript(b))]
        errors += self._fleets.check_steps(bound)
        for name, run in runs.items():
            try:
                self._plan(run, [b for b in bound if b.steps_of(name)])
            except UserErrors as error:
                errors += error.errors
            except UserError as error:
                errors.append(error)
            else:
                errors += self._in_pods(run)
                errors += self._in_containers(run, [b for b in bound if b.steps_of(name)])
        if errors:
            raise UserErrors(list({str(e): e for e in errors}.values()))
        self._fill_in()
        gone_on_with = self._resumed.run if self._resumed else None
        results = self._resumed.results if self._resumed else Scope()
        set_current_run(Run(runs, results, Recording(self._path, gone_on_with)))

    def _workflows(self) -> tuple[list[BoundWorkflow], list[UserError]]:
        bound, errors = [], []
        for name in self._file.workflows:
            try:
                bound.append(self._fleets.read(name, all_given=True))
            except UserErrors as several:
                errors += several.errors
            except UserError as error:
                errors.append(error)
        return bound, errors

    def _plan(self, run: FleetRun, workflows: list[BoundWorkflow]) -> None:
        """Give every step of the fleet its group: those of the plan, or, without one, those of `group_steps`."""
        steps, places = steps_of(run.deployment, run.config, workflows)
        groups = group_steps(steps, run.config, places)
        for bound in workflows:
            prefix = bound.cwl.name if len(workflows) > 1 else ""
            run.open_ended |= {prefix + s.name for s in bound.cwl.steps.values() if s.loops or s.may_be_skipped}
        if any(g.steps for g in groups):
            run.plan = self._optimised(run, workflows)
        if run.plan is not None:
            groups = [_as_defined(g, run.config) for g in planned_groups(run.plan, run.open_ended)]
            of_step = {e.step: e.miniclusters[0] for e in run.plan.steps if e.miniclusters}
        else:
            of_step = {step: g.name for g in groups for step in g.steps}
        for bound in workflows:
            prefix = bound.cwl.name if len(workflows) > 1 else ""
            run.workflows.append(
                {
                    name: _step_run(step, prefix + name, of_step.get(prefix + name))
                    for name, step in bound.steps_of(run.deployment).items()
                }
            )
        run.workflow = "-".join(b.cwl.name for b in workflows)
        from streamflow_fluxop.sources.history import resolved

        for bound in workflows:
            prefix = bound.cwl.name if len(workflows) > 1 else ""
            run.files[prefix] = resolved(self._file.workflow(bound.cwl.name).file)
        run.steps = steps
        run.groups = {g.name: g for g in groups or _one_a_flavour(run.config)}

    def _in_pods(self, run: FleetRun) -> Iterator[UserError]:
        """What the groups need in Kubernetes: an image each, and a volume that they share."""
        config = run.config
        if config.cluster != "kubernetes":
            return
        template = config.kubernetes.template
        main = (template.get("containers") or [{}])[0] if isinstance(template, dict) else {}
        for group in run.groups.values():
            if group.image is None and "image" not in main:
                steps = f" of {', '.join(group.steps)}" if group.steps else ""
                yield UserError(
                    f"the pods of MiniCluster {group.name} have no image: the steps{steps} have no DockerRequirement",
                    where=self._file.where("deployments", run.deployment, "config"),
                    fix="Say which image they run in: `image: …` here is that of all steps without one.",
                )
        if config.shared_path is None and (
            len(run.groups) > 1 or any((g.max_size or g.size) > 1 for g in run.groups.values())
        ):
            there = ", ".join(f"{g.name} ({g.size} pod{'s' * (g.size > 1)})" for g in run.groups.values())
            yield UserError(
                f"MiniClusters {there} have no volume to share, so a step would not find the files of another",
                where=self._file.where("deployments", run.deployment, "config"),
                fix="Give them one: `kubernetes: {volumes: {work: {claim: …, path: /work, shared: true}}}`. "
                "Without one a fleet can only be a single MiniCluster of one pod.",
            )

    def _in_containers(self, run: FleetRun, workflows: list[BoundWorkflow]) -> Iterator[UserError]:
        """Look for what runs the images of its steps, if anything."""
        from streamflow_fluxop.streamflow_plugin.engines import find_engine

        steps = [s for b in workflows for s in b.steps_of(run.deployment).values()]
        programs = [(s.name, s.program) for s in steps if s.asked.container is not None and s.program is not None]
        where = self._file.where("deployments", run.deployment, "config", "containers")
        yield from find_engine(run, programs, where)

    def _optimised(self, run: FleetRun, workflows: list[BoundWorkflow]) -> Plan | None:
        """The plan that `fluxop plan` shows; None where there is none: MiniClusters then come when jobs need them.

        Raises:
            UserError: there is none within deadline and budget, or none at all.
        """
        options = run.config.plan
        if options.strategy == "dynamic":
            return None
        if len(workflows) < len(self._file.workflows):
            logger.warning("the fleet %s runs without a plan: not all workflows could be read", run.deployment)
            return None
        from streamflow_fluxop.planning import solve
        from streamflow_fluxop.sources.streamflow import source_of

        results = self._resumed.results if self._resumed else None
        source = source_of(self._file, run.deployment, run.config, workflows, results=results)
        run.config = run.config.model_copy(update={"flavours": source.problem.flavours})  # as past runs have it
        run.reusable = dict(source.reusable)
        if source.reuse:
            logger.info("REUSE in the fleet %s: %s", run.deployment, source.reuse)
        problem = source.problem.model_copy(update={"objective": source.objective})
        try:
            return solve(problem, strategy=options.strategy, seed=options.seed, time_limit=source.time_limit)
        except UserError as error:
            raise source.located(error) from None

    # what a fleet brings along

    def _fill_in(self) -> None:
        """What a user would have to write: the policy, and that images are the MiniClusters'."""
        policies = self._config.setdefault("scheduling", {}).setdefault("policies", {})
        policies.setdefault(POLICY, {"type": POLICY, "config": {}})
        for name, fleet in self._fleets.configs.items():
            deployment = self._config["deployments"][name]
            deployment.setdefault("scheduling_policy", POLICY)
            if fleet.shared_path:
                deployment.setdefault("workdir", os.path.join(fleet.shared_path, "streamflow"))
            elif fleet.cluster != "ssh" and deployment.get("workdir") is None:  # only the host can say where
                deployment["workdir"] = work_folder() if fleet.cluster == "local" else work_folder("/tmp")
        for name in self._file.workflows:
            docker = self._config["workflows"][name]["config"].setdefault("docker", [])
            if all(entry["step"] != "/" for entry in docker):
                docker.append({"step": "/", "deployment": {"type": POLICY, "config": {}}})


def _step_run(step: CWLStep, name: str, group: str | None) -> StepRun | None:
    if step.kind == "ExpressionTool":
        return None
    return StepRun(name, group, step.asked, step.stderr_declared, step.success_codes)


_EVALUATE = ("nodejs", "node", "docker", "singularity", "podman", "udocker")
"""What cwl-utils evaluates JavaScript with, in the run: Node, or a container that has it."""


def _no_javascript(workflow: BoundWorkflow) -> Iterator[UserError]:
    """JavaScript that StreamFlow can't evaluate on this machine: it ends in the middle of a run then."""
    if workflow.cwl.script is not None and not any(map(shutil.which, _EVALUATE)):
        yield UserError(
            "this is JavaScript, and there is no Node.js on the PATH to evaluate it",
            where=workflow.cwl.script,
            fix="Install Node.js (apt-get install nodejs, conda install nodejs).",
        )


def unusable(path: str) -> str | None:
    """Why no directory can be made at `path`, or in it if it is there; None if one can."""
    there = Path(path).absolute()
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        return f"{there} is no directory"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} is not writable"


def _as_defined(group: Group, config: FleetConfig) -> Group:
    """A group with the size that the user gave it, if he did."""
    defined = config.groups.get(group.named or "")
    if defined is None or defined.size is None:
        return group
    return replace(group, size=max(defined.size, group.size), max_size=None)


def _one_a_flavour(config: FleetConfig) -> list[Group]:
    """Groups for steps that nobody knows: the CWL could not be read, or no step was expected to run."""
    return [Group(name, name, config.limits.nodes_of(f) or 1, config.image) for name, f in config.flavours.items()]
