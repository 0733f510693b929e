"""The documents: needs, flavours, limits, workflow. No StreamFlow, Kubernetes or Flux in here.

Units everywhere: seconds, MiB, whole cores, nodes; prices are per node-hour in the user's currency.
"""

from streamflow_fluxop.model.document import Document
from streamflow_fluxop.model.flavour import Flavour, Limits
from streamflow_fluxop.model.needs import Needs
from streamflow_fluxop.model.workflow import Dependency, Duration, Step, Workflow

__all__ = [
    "Dependency",
    "Document",
    "Duration",
    "Flavour",
    "Limits",
    "Needs",
    "Step",
    "Workflow",
]
