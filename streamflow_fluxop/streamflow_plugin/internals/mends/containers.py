"""Mend: what CWL says of the inside of containers does not happen to the machine outside.

StreamFlow 0.2.0rc3 makes `dockerOutputDirectory` where the job runs (`cwl/translator.py`,
`_process_docker_requirement`), writes what InitialWorkDirRequirement puts at absolute paths there (`cwl/command.py`,
`_prepare_work_dir`), and refuses a DockerRequirement with neither dockerPull nor dockerImageId. Jobs of a fleet that
run in containers have their output directory where all jobs have it, and their container shows it where it should be;
files for absolute paths are put into a folder, of which their container shows them. Other jobs are left as they are.
"""

from __future__ import annotations

import functools
import posixpath
from collections.abc import MutableMapping
from typing import Any

from streamflow.core.deployment import Target
from streamflow.cwl import command, translator, utils
from streamflow.cwl.command import InitialWorkDirOptions
from streamflow.data.remotepath import StreamFlowPath

from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.streamflow_plugin.containers import STAGED
from streamflow_fluxop.streamflow_plugin.internals.mends import Mend


def _is_needed() -> bool:
    return not hasattr(translator._process_docker_requirement, "__wrapped__")


def _apply() -> None:
    process: Any = translator._process_docker_requirement
    prepare: Any = command._prepare_work_dir

    @functools.wraps(process)
    def process_docker_requirement(*, context: MutableMapping[str, Any], target: Target, **given: Any) -> Target:
        if _runs_containers(target.deployment.name):
            return target
        result: Target = process(context=context, target=target, **given)
        return result

    @functools.wraps(prepare)
    async def prepare_work_dir(options: InitialWorkDirOptions, element: Any, *more: Any, **given: Any) -> None:
        if (place := _staged(options, element)) is not None:
            await _make_folder(options, posixpath.dirname(place))
            element = {**element, "entryname": place}
        await prepare(options, element, *more, **given)

    translator._process_docker_requirement = process_docker_requirement
    command._prepare_work_dir = prepare_work_dir


def _runs_containers(deployment: str) -> bool:
    """Whether this is a fleet whose jobs run in containers."""
    from streamflow_fluxop.streamflow_plugin.current_run import current_run

    try:
        fleet = current_run().fleets.get(deployment)
    except FluxopError:  # no fleet is in this run
        return False
    return fleet is not None and fleet.runs_containers


def _staged(options: InitialWorkDirOptions, element: Any) -> str | None:
    """Where an entry of a listing goes that names an absolute path in a container; None: it names none."""
    if not isinstance(element, MutableMapping) or not {"entryname", "entry"} <= element.keys():
        return None
    job = options.job
    if not options.absolute_initial_workdir_allowed or not _runs_containers(
        options.step.workflow.context.scheduler.get_connector(job.name).deployment_name
    ):
        return None
    name = utils.eval_expression(
        expression=element["entryname"],
        context=options.context,
        full_js=options.full_js,
        expression_lib=options.expression_lib,
    )
    if not isinstance(name, str) or not posixpath.isabs(name):
        return None
    if f"{name}/".startswith(f"{job.output_directory}/"):
        return None
    return f"{job.tmp_directory}/{STAGED}{posixpath.normpath(name)}"


async def _make_folder(options: InitialWorkDirOptions, folder: str) -> None:
    context = options.step.workflow.context
    for location in context.scheduler.get_locations(options.job.name):
        await StreamFlowPath(folder, context=context, location=location).mkdir(parents=True, exist_ok=True)


MEND = Mend("what is said of the inside of containers", "0.2.0rc3", _is_needed, _apply)
