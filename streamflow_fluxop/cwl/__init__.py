"""From a StreamFlow file and its CWL documents to a graph of steps with needs, widths, estimates and bindings.

    file = read_streamflow_file("streamflow.yml")
    bound = file.read("workflow")                 # the CWL, the inputs and the bindings
    bound.workflow("fleet")                       # the document that the planner takes
    file.where("deployments", "fleet", "config")  # for messages: streamflow.yml:12: deployments.fleet.config

Importing this costs little: cwl-utils and ruamel.yaml, which don't, are imported when something is read.
"""

from streamflow_fluxop.cwl.bindings import Binding, BoundWorkflow, Deployment, Target
from streamflow_fluxop.cwl.errors import UnreadableCWL
from streamflow_fluxop.cwl.graph import CWLStep, CWLWorkflow
from streamflow_fluxop.cwl.hint import FluxRequirement, hint_schema
from streamflow_fluxop.cwl.reader import ASSUMED_DURATION, ASSUMED_WIDTH, read_workflow
from streamflow_fluxop.cwl.resource_needs import ResourceRequest
from streamflow_fluxop.cwl.streamflow_file import StreamFlowFile, WorkflowEntry, read_streamflow_file

__all__ = [
    "ASSUMED_DURATION",
    "ASSUMED_WIDTH",
    "Binding",
    "BoundWorkflow",
    "CWLStep",
    "CWLWorkflow",
    "Deployment",
    "FluxRequirement",
    "ResourceRequest",
    "StreamFlowFile",
    "Target",
    "UnreadableCWL",
    "WorkflowEntry",
    "hint_schema",
    "read_streamflow_file",
    "read_workflow",
]
