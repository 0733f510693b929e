"""The connector `minicluster`: one deployment is one fleet, its locations are the groups' MiniClusters."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping, MutableSequence, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from streamflow.core.data import StreamWrapper
from streamflow.core.deployment import Connector, ExecutionLocation, Shell
from streamflow.core.exception import WorkflowExecutionException
from streamflow.core.scheduling import AvailableLocation
from streamflow.deployment.connector import base

from streamflow_fluxop.agent.shell_fastpath.answering import JOB_FILES, answer
from streamflow_fluxop.agent.wire.protocol import CommandResult, JobRequest
from streamflow_fluxop.errors import BudgetReachedError, FluxopError
from streamflow_fluxop.printable import printable
from streamflow_fluxop.streamflow_plugin.agent_streams import AgentShell, agent_reader, agent_writer
from streamflow_fluxop.streamflow_plugin.failures import account
from streamflow_fluxop.streamflow_plugin.internals import hook
from streamflow_fluxop.streamflow_plugin.internals.current_job import current_job, if_it_fails
from streamflow_fluxop.streamflow_plugin.internals.directories import Directories
from streamflow_fluxop.streamflow_plugin.internals.local_folders import not_settled, settle
from streamflow_fluxop.streamflow_plugin.plan_log import comparison
from streamflow_fluxop.streamflow_plugin.shared_files import leads_out, leads_up, never_ends
from streamflow_fluxop.streamflow_plugin.tar_streams import extract

if TYPE_CHECKING:
    from streamflow_fluxop.events import Recorder
    from streamflow_fluxop.miniclusters.base import Cluster, MiniCluster
    from streamflow_fluxop.orchestration.runner import FleetRunner
    from streamflow_fluxop.reuse.results import Result
    from streamflow_fluxop.streamflow_plugin.containers import Containers
    from streamflow_fluxop.streamflow_plugin.current_run import FleetRun, JobPlacement
    from streamflow_fluxop.streamflow_plugin.job_identity import Do, Identity
    from streamflow_fluxop.streamflow_plugin.reusing import Reuse

logger = logging.getLogger(__name__)

_ENCODED_SCRIPT = re.compile(r'"\$\(echo ([A-Za-z0-9+/=]*) \| base64 -d\)"')
_FOR_ALL = re.compile(r"\Amkdir -m 777 ")
"""How StreamFlow makes a job's directories: so that every user of the machine may write there."""
_END_OF_JOBS = 5.0
"""Seconds that StreamFlow may take to note that jobs of a run that was interrupted are over."""
_SHELL_OPERATORS = {"|", ">", "<", "&&", "||", ";", "2>&1"}


class MiniClusterConnector(Connector):
    """StreamFlow's view of a fleet.

    `deploy` and `get_available_locations` return at once; `run` waits for its MiniCluster. The configuration
    has been checked, and the steps have been grouped, before the run began (`preflight`).

    Args:
        deployment_name: of the fleet.
        config_dir: of StreamFlow: the StreamFlow file or its folder, not used.
        transferBufferSize: bytes in each piece of a data transfer.
        config: the rest of the configuration, see `FleetConfig`.
    """

    def __init__(self, deployment_name: str, config_dir: str, transferBufferSize: int = 2**16, **config: Any) -> None:
        super().__init__(deployment_name, config_dir, transferBufferSize)
        from streamflow_fluxop.streamflow_plugin.current_run import (
            current_run,  # here, as importing the plugin must cost little
        )

        self._fleet: FleetRun = current_run().fleets[deployment_name]
        self._runner: FleetRunner | None = None
        self._record: Recorder  # from deploy on
        self._reuse: Reuse | None = None
        self._containers: Containers | None = None
        self._uses = itertools.count()
        self._directories = Directories()
        self._locations = self._make_locations()

    @classmethod
    def get_schema(cls) -> str:
        """The configuration's JSON Schema."""
        return files("streamflow_fluxop").joinpath("schemas/connector.json").read_text("utf-8")

    # the fleet's life

    async def deploy(self, external: bool) -> None:
        """Get ready, and ask for what the plan needs first."""
        from streamflow_fluxop.events import FleetStarted
        from streamflow_fluxop.orchestration.decisions.partial_order import PartialOrder
        from streamflow_fluxop.orchestration.runner import FleetRunner
        from streamflow_fluxop.streamflow_plugin.current_run import current_run

        config = self._fleet.config
        logger.info("PLAN of the fleet %s:\n%s", self.deployment_name, self._fleet.describe())
        self._record = current_run().recording.fleet(self.deployment_name)
        self._record(
            FleetStarted(
                cluster=config.cluster,
                external=config.external,
                flavours=config.flavours,
                limits=config.limits,
                plan=self._fleet.plan,
                workflows=self._fleet.files,
                tools={} if self._fleet.plan else {s.name: s.tool for s in self._fleet.steps if s.tool},
                budget=None if config.external else config.plan.budget,
                deadline=config.plan.deadline,
            )
        )
        cluster = self._cluster()
        await self._settle_work_folder(cluster)
        self._runner = FleetRunner(
            self._fleet.groups.values(),
            config,
            cluster,
            PartialOrder(self._fleet.plan, self._fleet.open_ended) if self._fleet.plan else None,
            self._record,
            self._fleet.plan.cost if self._fleet.plan else 0.0,
        )
        self._reuse = self._reusing()
        if self._reuse is None or not self._reuse.takes:  # else perhaps nothing has to run
            self._runner.begin()
        if config.cluster != "kubernetes":
            self._containers = self._with_containers(cluster)

    def _with_containers(self, cluster: Cluster) -> Containers:
        from streamflow_fluxop.streamflow_plugin.containers import Containers

        config = self._fleet.config
        made = Containers(
            "none" if self._fleet.no_engine else config.containers,
            here=config.ssh is None,
            python=sys.executable if config.ssh is None else config.ssh.python,
            shell=cluster.shell,
            record=self._record,
            engine=self._fleet.engine,
        )
        made.get_ahead(self._fleet.images())
        return made

    async def _settle_work_folder(self, cluster: Cluster) -> None:
        """Where the file says no work directory, it is the cluster's choice.

        Raises:
            WorkflowExecutionException: the cluster has none.
        """
        if not not_settled(self.deployment_name):
            return
        try:
            folder = await cluster.work_folder()
        except FluxopError as error:
            await cluster.close()
            raise WorkflowExecutionException(f"the fleet {self.deployment_name}: {error}") from None
        settle(self.deployment_name, folder or os.path.join("/tmp", "streamflow"))

    def _reusing(self) -> Reuse | None:
        """What jobs may take from earlier runs, and leave for later ones."""
        from streamflow_fluxop.events.writing import runs_folder
        from streamflow_fluxop.streamflow_plugin.current_run import current_run
        from streamflow_fluxop.streamflow_plugin.reusing import Reuse

        run, options = current_run(), self._fleet.config.reusing
        if run.recording.run is None or not (options.enabled or options.record):
            return None
        scope = replace(run.reused, but=run.recording.run) if options.enabled else None
        return Reuse(self._fleet.config, scope, run.recording.run, run.recording.file, runs_folder())

    def _cluster(self) -> Cluster:
        alone = self._fleet.alone()
        if not alone:
            return self._shared_cluster()
        from streamflow_fluxop.miniclusters.per_job import AloneCluster

        # the fleet counts a group's MiniClusters as one
        return AloneCluster(self._shared_cluster(), alone, several=self._fleet.config.limits.miniclusters is None)

    def _shared_cluster(self) -> Cluster:
        config = self._fleet.config
        if config.kubernetes.attach is not None:
            from streamflow_fluxop.miniclusters.kubernetes.external_minicluster import AttachedKubernetesCluster

            return AttachedKubernetesCluster(config)
        if config.cluster == "kubernetes":
            from streamflow_fluxop.miniclusters.kubernetes.cluster import KubernetesCluster
            from streamflow_fluxop.streamflow_plugin.current_run import current_run

            run = current_run().recording.run
            return KubernetesCluster(config, self.deployment_name, self._fleet.workflow, run, record=self._record)
        if config.ssh is not None:
            from streamflow_fluxop.miniclusters.ssh.minicluster import SSHCluster

            return SSHCluster(config.ssh, config.scheduler, config.flux_uri)
        if config.flux_uri is not None:
            from streamflow_fluxop.miniclusters.external import AttachedCluster

            return AttachedCluster(config.flux_uri, config.preserve_environment)
        from streamflow_fluxop.miniclusters.local import LocalCluster

        return LocalCluster(config.scheduler, config.preserve_environment)

    async def undeploy(self, external: bool) -> None:
        """Take all MiniClusters down; their jobs end with them. Never raises."""
        hook.run_is_ending()
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        try:
            if self._containers is not None:
                await self._containers.close()
            await asyncio.shield(asyncio.create_task(self._take_down(runner)))
            if runner.stopped_for is not None:
                hook.run_was_stopped(f"the fleet {self.deployment_name} was stopped: {runner.stopped_for}")
            await self._directories.close()
            if runner.account.over:
                logger.info(
                    "PLANNED AND ACTUAL of the fleet %s:\n%s",
                    self.deployment_name,
                    comparison(self._fleet.plan, runner),
                )
        except Exception:
            logger.exception("the fleet %s could not be taken down in order", self.deployment_name)

    async def _take_down(self, runner: FleetRunner) -> None:
        """Take all MiniClusters down, and end what StreamFlow still does for jobs there: it can't without us."""
        jobs = [task for task in asyncio.all_tasks() if task.get_name() in self._fleet.placements]
        for task in jobs:
            task.cancel()
        if self._reuse is not None:  # while there is somebody who sees the files
            await self._reuse.close()
        await runner.close()
        if jobs:
            over, _ = await asyncio.wait(jobs, timeout=_END_OF_JOBS)
            errors = [task.exception() for task in over if not task.cancelled()]
            logger.debug("jobs that were under way: %s", errors)

    async def get_available_locations(self, service: str | None = None) -> MutableMapping[str, AvailableLocation]:
        """A location a group, up or not, and one for what runs beside StreamFlow; the policy chooses."""
        return self._locations

    def _make_locations(self) -> dict[str, AvailableLocation]:
        def location(name: str, local: bool) -> AvailableLocation:
            return AvailableLocation(
                name=name, deployment=self.deployment_name, hostname="localhost", local=local, slots=sys.maxsize
            )

        fleet = self._fleet
        locations = [location(fleet.location(g), fleet.config.controller_sees_storage) for g in fleet.groups]
        # always one more than the one that a job asks for: else StreamFlow would not ask the policy
        locations.append(location(fleet.location(fleet.controller), True))
        return {loc.name: loc for loc in locations}

    # commands

    async def run(
        self,
        location: ExecutionLocation,
        command: MutableSequence[str],
        environment: MutableMapping[str, str] | None = None,
        workdir: str | None = None,
        stdin: int | str | None = None,
        stdout: int | str = asyncio.subprocess.STDOUT,
        stderr: int | str = asyncio.subprocess.STDOUT,
        capture_output: bool = False,
        timeout: int | None = None,
        job_name: str | None = None,
    ) -> tuple[str, int] | None:
        """Run a step's job as a Flux job, or (without `job_name`) one of StreamFlow's own small commands.

        Args:
            location: one of `get_available_locations`.
            command: quoted for a shell, to be joined with spaces.
            environment: added to the MiniCluster's own.
            workdir: directory in which it runs.
            stdin: path, or None.
            stdout: path, or STDOUT: captured.
            stderr: path, or STDOUT: captured.
            capture_output: whether to return something.
            timeout: seconds after which the job is killed.
            job_name: such as `/step/0.3`.

        Returns:
            Output and exit code, or None.

        Raises:
            WorkflowExecutionException: the MiniCluster failed, or the command could not be run.
        """
        try:
            if job_name is None:
                line = shell_line(command, environment, workdir, stdin, stdout, stderr)
                if self._fleet.config.cluster != "kubernetes":  # where containers may have users of their own
                    line = _FOR_ALL.sub("mkdir -m 700 ", line)
                result = await self._run_small(location, line, timeout)
                text = result.output + (result.errors if result.exit_code else b"")
                output, exit_code = text.decode(errors="replace").strip(), result.exit_code
            else:
                output, exit_code = await self._run_job(
                    job_name, location, command, environment, workdir, stdin, stdout, stderr, timeout
                )
        except BudgetReachedError as error:  # nothing is gained by trying again
            raise hook.StoppedJob(str(error)) from None
        except FluxopError as error:
            raise WorkflowExecutionException(str(error)) from None
        return (output, exit_code) if capture_output else None

    async def _run_job(
        self,
        name: str,
        location: ExecutionLocation,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        workdir: str | None,
        stdin: int | str | None,
        stdout: int | str,
        stderr: int | str,
        timeout: int | None,
    ) -> tuple[str, int]:
        from streamflow_fluxop.streamflow_plugin.recording import recorded_job
        from streamflow_fluxop.streamflow_plugin.reusing import Left

        placement = self._fleet.placements[name]
        if stderr == stdout and not placement.merge_stderr:
            stderr = asyncio.subprocess.STDOUT  # StreamFlow means "not declared": it is the user's error text
        needs = placement.needs
        request = JobRequest(
            name=name,
            argv=arguments(command),
            cwd=workdir,
            environment=dict(environment or {}),
            stdin=_path(stdin),
            stdout=_path(stdout),
            stderr=_path(stderr),
            nodes=needs.nodes,
            tasks=needs.tasks,
            cores_per_task=needs.cores_per_task,
            gpus_per_task=needs.gpus_per_task,
            exclusive=needs.exclusive,
            time_limit=timeout,
        )
        named = [workdir or "", *request.environment.values(), *request.argv, request.stdin or ""]
        await self._directories.made(location.name, " ".join(named))
        group = self._fleet.group_at(location.name)
        container, do = placement.container, self._files_at(location)
        image = container.image.name if container is not None else self._fleet.groups[placement.group].image
        known = None
        if self._reuse is not None:
            contained = await self._is_contained(placement)
            known = await self._reuse.identify(current_job(), request, placement, image, do, contained=contained)
        if known is not None and (found := await self._reused(name, known, placement, group, do)):
            return found.output.strip(), found.exit_code
        use = f"{name} {next(self._uses)}"
        temporary = request.environment.get("TMPDIR")
        asked = request
        request, measured = await self._in_container(request, placement)
        began = time.monotonic()
        with recorded_job(self._record, self._fleet, name, group) as job:
            async with self._active().job(use, group, placement.step, needs, _index(name)) as (minicluster, nodes):
                if minicluster.max_size > 1 and self._fleet.config.flux_uri is None:  # there, others choose nodes too
                    request = replace(
                        request, ranks=nodes, nodes=needs.nodes or (len(nodes) if len(nodes) > 1 else None)
                    )
                logger.info("SUBMITTING job %s to MiniCluster %s", name, minicluster.name)
                began = time.monotonic()
                result = await minicluster.client.run_job(request, on_state=job.on_state(minicluster.name))
            if not measured:
                result = replace(result, memory=None, cpu=None)
            job.result = result
            ran_in = minicluster.name
        if workdir and temporary and not location.local:
            self._directories.used(
                location.name, {workdir, temporary}, lambda line: self._run_command(location, line, None)
            )
        if not job.failed:
            if known is not None and self._reuse is not None and self._fleet.config.reusing.record:
                left = Left(
                    known, name, placement.step, self._fleet.tools.get(placement.step), result, time.monotonic() - began
                )
                self._reuse.keep(left, None if location.local else do)
                if_it_fails(partial(self._reuse.forget, known.directory))
                if known.in_place:
                    await self._reuse.kept()
            return result.output.strip(), result.exit_code
        return account(result, asked, ran_in, image if request is not asked else None), result.exit_code or 1

    async def _is_contained(self, placement: JobPlacement) -> bool:
        """Whether a job runs in a container, its own or a pod's."""
        if self._fleet.config.cluster == "kubernetes":
            return True
        if placement.container is None or self._containers is None:
            return False
        return await self._containers.engine() is not None

    async def _in_container(self, request: JobRequest, placement: JobPlacement) -> tuple[JobRequest, bool]:
        """A job as it runs in its step's container, if it has one, and whether what it uses can be measured."""
        if placement.container is None or self._containers is None:
            return request, True
        current = current_job()
        folder = current.job.input_directory if current is not None else None
        return await self._containers.inside(request, placement.container, folder)

    async def _reused(
        self, name: str, identity: Identity, placement: JobPlacement, group: str, do: Do
    ) -> Result | None:
        """Take the result of a job that did the same, so that this one need not run."""
        from streamflow_fluxop.events import JobAsked, JobReused

        if self._reuse is None or not self._reuse.takes:
            return None
        found = await self._reuse.take(identity, name, placement.step, self._fleet.tools.get(placement.step), do)
        if found is None:
            return None
        if_it_fails(partial(self._reuse.forget, identity.directory, found.origin))
        flavour = self._fleet.config.flavours[self._fleet.groups[group].flavour]
        step, size = placement.step or None, placement.input_bytes
        self._record(JobAsked.of(name, placement.needs, flavour, step, None, size))
        self._record(JobReused(job=name, run=found.run, of=found.job, seconds=found.seconds))
        self._fleet.reusable[placement.step] = left = self._fleet.reusable.get(placement.step, 0) - 1
        if left < 0:  # the plan has this job
            self._deployed().reused(placement.step)
        logger.info("REUSED job %s: it succeeded in run %s as %s", name, found.run, found.job)
        return found

    def _files_at(self, location: ExecutionLocation) -> Do:
        """Carries out what `agent.system.job_files` can, where the location's files are."""
        from streamflow_fluxop.streamflow_plugin.reusing import done

        async def do(request: Mapping[str, Any]) -> Any:
            if location.local and self._reuse is not None:
                return await self._reuse.here(request)
            result = await self._run_command(location, JOB_FILES + json.dumps(request), None)
            if result.exit_code:
                return done({"unfit": result.errors.decode(errors="replace")})
            return done(json.loads(result.output))

        return do

    async def _run_small(self, location: ExecutionLocation, line: str, timeout: float | None) -> CommandResult:
        """One of the command lines that StreamFlow has around each job."""
        if location.local:
            return await _run_here(line, timeout)
        return await self._directories.run(
            location.name, line, lambda command: self._run_command(location, command, timeout)
        )

    async def _run_command(self, location: ExecutionLocation, line: str, timeout: float | None) -> CommandResult:
        if location.local:
            return await _run_here(line, timeout)
        async with self._at(location) as minicluster:
            return await minicluster.client.run_command(line, timeout=timeout)

    @asynccontextmanager
    async def _at(self, location: ExecutionLocation) -> AsyncIterator[MiniCluster]:
        runner = self._active()
        group = runner.nearest(self._fleet.group_at(location.name))
        async with runner.job(f"command {next(self._uses)}", group) as place:
            yield place.minicluster

    def _active(self) -> FleetRunner:
        runner = self._deployed()
        runner.begin()
        return runner

    def _deployed(self) -> FleetRunner:
        if self._runner is None:
            raise WorkflowExecutionException(f"the fleet {self.deployment_name} is not deployed, or not any more")
        return self._runner

    # streams and copies

    async def check_output(self, path: str, kind: str, locations: Sequence[ExecutionLocation]) -> None:
        """Whether an output may be looked at: links of jobs are followed, on this machine where it sees the storage.

        Args:
            path: of the file or directory.
            kind: "File" or "Directory".
            locations: where it is.

        Raises:
            WorkflowExecutionException: it leads to files of this machine, or in a circle.
        """
        config, controller = self._fleet.config, self._fleet.location(self._fleet.controller)
        place = next((location for location in locations if location.name != controller), None)
        if place is None:
            return
        why: str | None = ""
        if place.local and config.cluster != "local" and config.shared_path is not None:  # else jobs run as we do
            outside = await asyncio.to_thread(leads_out, path, config.shared_path)
            why = outside and f"it leads out of the shared storage {config.shared_path}: {outside}"
        if kind == "Directory" and not why:
            if place.local:
                why = await asyncio.to_thread(never_ends, path)
            elif up := await self.run(place, [leads_up(path)], capture_output=True):
                why = up[0] and f"a link in it leads back to where it is: {up[0].splitlines()[0][-300:]}"
        if why:
            raise WorkflowExecutionException(printable(f"the output {path} can't be taken: {why}"))

    async def get_shell(self, command: MutableSequence[str], location: ExecutionLocation) -> Shell:
        """A shell at `location`: each of its commands goes through the agent."""
        return AgentShell(self, command, location, self.transferBufferSize)

    async def get_stream_reader(
        self, command: MutableSequence[str], location: ExecutionLocation
    ) -> AbstractAsyncContextManager[StreamWrapper]:
        """What a command at `location` writes."""
        await self._directories.made(location.name)
        return agent_reader(self._at(location), _quoted(command))

    async def get_stream_writer(
        self, command: MutableSequence[str], location: ExecutionLocation
    ) -> AbstractAsyncContextManager[StreamWrapper]:
        """What a command at `location` reads."""
        await self._directories.made(location.name)
        return agent_writer(self._at(location), _quoted(command))

    async def copy_local_to_remote(
        self, src: str, dst: str, locations: MutableSequence[ExecutionLocation], read_only: bool = False
    ) -> None:
        """Bring a file or directory of the controller to the fleet: all of its MiniClusters see it."""
        if locations[0].local:
            await asyncio.to_thread(_link_or_copy, src, dst, read_only)
        else:
            await base.copy_local_to_remote(self, locations[0], src, dst, ["tar", "xpf", "-", "-C", "/"])

    async def copy_remote_to_local(
        self, src: str, dst: str, location: ExecutionLocation, read_only: bool = False
    ) -> None:
        """Bring a file or directory of the fleet to the controller."""
        if location.local:
            await asyncio.to_thread(_link_or_copy, src, dst, read_only)
        else:
            parent, name = os.path.split(src)
            command = ["tar", "chf", "-", "-C", parent, name]
            logger.info("COPYING from %s on location %s to %s on local file-system", src, location, dst)
            async with await self.get_stream_reader(command, location) as stream:
                await extract(stream, src, dst)
                while await stream.read(self.transferBufferSize):  # tar fills its last record, and says how it ended
                    continue

    async def copy_remote_to_remote(
        self,
        src: str,
        dst: str,
        locations: MutableSequence[ExecutionLocation],
        source_location: ExecutionLocation,
        source_connector: Connector | None = None,
        read_only: bool = False,
    ) -> None:
        """Bring data from one location to others; within the fleet a link does, as its storage is shared."""
        if source_location.deployment != self.deployment_name:
            await base.copy_remote_to_remote(self, locations[:1], src, dst, source_connector, source_location)
        elif src != dst:
            tool = ["ln", "-snf"] if read_only else ["/bin/cp", "-rf"]
            line = shlex.join([*tool, src, dst])
            result = await self._run_small(locations[0], line, None)
            if result.exit_code:
                raise WorkflowExecutionException(f"FAILED `{line}`: {result.output.decode(errors='replace')}")


def arguments(command: Sequence[str]) -> tuple[str, ...]:
    """The argument list of a job's command, which StreamFlow gives as words quoted for a shell.

    A ShellCommandRequirement's script comes as `/bin/sh -c "$(echo … | base64 -d)"`: it is decoded here, so that
    no second shell has to.
    """
    line = " ".join(command)
    if len(command) == 3 and (match := _ENCODED_SCRIPT.fullmatch(command[2])):
        script = base64.b64decode(match[1]).decode().rstrip("\n")  # as $(…) does
        return command[0], command[1], script
    return tuple(shlex.split(line))


def shell_line(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    workdir: str | None = None,
    stdin: int | str | None = None,
    stdout: int | str = asyncio.subprocess.STDOUT,
    stderr: int | str = asyncio.subprocess.STDOUT,
) -> str:
    """One line for a shell, with environment, directory and files quoted (StreamFlow's own quotes neither)."""
    line = " ".join(command)
    for redirect, target in (("<", stdin), (">", stdout), ("2>", stderr)):
        if path := _path(target):
            line += f" {redirect} {shlex.quote(path)}"
    exports = [f"export {k}={shlex.quote(v)}" for k, v in (environment or {}).items()]
    directory = [f"cd {shlex.quote(workdir)}"] if workdir else []
    return " && ".join([*directory, *exports, line])


def _index(job: str) -> int | None:
    """Which job of its step a job is: `/step/0.3` is number 3; None where scatters are nested."""
    tag = job.rsplit("/", 1)[-1].split(".")
    return int(tag[-1]) if len(tag) <= 2 and tag[-1].isdecimal() else None


def _path(target: int | str | None) -> str | None:
    if target == asyncio.subprocess.DEVNULL:
        return "/dev/null"
    return target if isinstance(target, str) else None


def _quoted(command: Sequence[str]) -> str:
    return " ".join(word if word in _SHELL_OPERATORS else shlex.quote(word) for word in command)


async def _run_here(line: str, timeout: float | None) -> CommandResult:
    """A small command on files that the controller sees itself."""
    if (result := answer(line)) is not None:
        return result
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), timeout)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return CommandResult(output, process.returncode or 0, errors)


def _link_or_copy(src: str, dst: str, read_only: bool) -> None:
    if os.path.isdir(dst):
        dst = os.path.join(dst, os.path.basename(src))
    if src == dst:
        return
    if read_only:
        if not os.path.lexists(dst):
            os.symlink(src, dst, target_is_directory=os.path.isdir(src))
    elif os.path.isdir(src):
        shutil.copytree(src, dst, dirs_exist_ok=True)
    else:
        shutil.copy(src, dst)
