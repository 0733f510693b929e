"""Problem in, plan out: which MiniClusters to bring up, when, of what size, for which jobs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamflow_fluxop.planning.solver import solve

    STRATEGIES: tuple[str, ...]

__all__ = ["STRATEGIES", "solve"]


def __getattr__(name: str) -> Any:
    """Import when used: the configuration reads the names of the strategies at the start of every command."""
    if name == "STRATEGIES":
        from streamflow_fluxop.planning.strategies import names

        return names()
    if name == "solve":
        from streamflow_fluxop.planning.solver import solve

        return solve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
