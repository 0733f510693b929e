"""The documents: needs, flavours, limits, workflow, problem, plan. No StreamFlow, Kubernetes or Flux in here.

Units everywhere: seconds, MiB, whole cores, nodes; prices are per node-hour in the user's currency.
"""

from streamflow_fluxop.model.base import Document
from streamflow_fluxop.model.capacity import NODE_LIMITS, Limits, NodeLimit
from streamflow_fluxop.model.flavour import Flavour
from streamflow_fluxop.model.needs import Needs
from streamflow_fluxop.model.plan import (
    Alternative,
    Assignment,
    Bounds,
    Knowledge,
    Plan,
    PlannedMiniCluster,
    Resize,
    StepEstimate,
)
from streamflow_fluxop.model.problem import Objective, Problem
from streamflow_fluxop.model.workflow import Dependencies, Dependency, Duration, Step, Workflow
from streamflow_fluxop.model.writing import to_json

__all__ = [
    "NODE_LIMITS",
    "Alternative",
    "Assignment",
    "Bounds",
    "Dependencies",
    "Dependency",
    "Document",
    "Duration",
    "Flavour",
    "Knowledge",
    "Limits",
    "Needs",
    "NodeLimit",
    "Objective",
    "Plan",
    "PlannedMiniCluster",
    "Problem",
    "Resize",
    "Step",
    "StepEstimate",
    "Workflow",
    "to_json",
]
