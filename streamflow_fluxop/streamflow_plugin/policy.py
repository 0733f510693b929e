"""The policy `minicluster`: a job goes to the MiniCluster of its step's group."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from streamflow.core.scheduling import Hardware, Policy
from streamflow.core.utils import get_job_step_name
from streamflow.core.workflow import Status

if TYPE_CHECKING:
    from streamflow.core.context import StreamFlowContext
    from streamflow.core.scheduling import AvailableLocation, JobAllocation, LocationAllocation
    from streamflow.core.workflow import Job


class MiniClusterPolicy(Policy):
    """Chooses the location of a job by the plan. It needs no configuration, and the plugin sets it by itself."""

    @classmethod
    def get_schema(cls) -> str:
        """The schema of an empty configuration."""
        return empty_schema("policy")

    async def get_location(
        self,
        context: StreamFlowContext,
        job: Job,
        hardware_requirement: Hardware,
        available_locations: MutableMapping[str, AvailableLocation],
        jobs: MutableMapping[str, JobAllocation],
        locations: MutableMapping[str, MutableMapping[str, LocationAllocation]],
    ) -> AvailableLocation | None:
        """The location of the job's group; StreamFlow holds a lock meanwhile, so nothing here waits.

        Raises:
            InfeasibleJob: no MiniCluster of the fleet can run the job.
        """
        from streamflow_fluxop.streamflow_plugin.current_run import current_run
        from streamflow_fluxop.streamflow_plugin.input_sizes import (
            bytes_of,  # here, as importing the plugin must cost little
        )

        deployment = next(iter(available_locations.values())).deployment
        fleet = current_run().fleets[deployment]
        before = context.scheduler.job_allocations.get(job.name)
        group = fleet.place(
            job=job.name,
            step=get_job_step_name(job.name),
            workflow=job.workflow_id,
            cores=hardware_requirement.cores,
            memory=hardware_requirement.memory,
            tried_again=before is not None and before.status is Status.ROLLBACK,
            input_bytes=bytes_of(job.inputs.values()),
        )
        return available_locations[fleet.location(group)]


def empty_schema(name: str) -> str:
    """The JSON Schema of an extension without configuration."""
    return json.dumps(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": f"urn:streamflow-fluxop:schema:{name}:minicluster:1",
            "type": "object",
            "properties": {},
            "additionalProperties": False,
        }
    )
