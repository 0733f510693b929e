"""From the files of users and of other workflow tools to problems for the planner.

`read` takes whatever `fluxop plan` is given; each format has its own module. What is heavy is imported when it is read.
"""

from streamflow_fluxop.sources.detection import read
from streamflow_fluxop.sources.source import Source

__all__ = ["Source", "read"]
