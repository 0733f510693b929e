"""Problem in, plan out: which MiniClusters to bring up, when, of what size, for which jobs."""

from streamflow_fluxop.planner.solve import STRATEGIES, solve
from streamflow_fluxop.planner.verify import verify

__all__ = ["STRATEGIES", "solve", "verify"]
