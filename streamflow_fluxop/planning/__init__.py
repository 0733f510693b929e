"""Problem in, plan out: which MiniClusters to bring up, when, of what size, for which jobs."""

from streamflow_fluxop.planning.solve import STRATEGIES, solve

__all__ = ["STRATEGIES", "solve"]
