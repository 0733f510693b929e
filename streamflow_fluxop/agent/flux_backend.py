"""Flux."""

from __future__ import annotations

from typing import Any

from streamflow_fluxop.agent.backend import Backend


def flux_is_here() -> bool:
    """Whether Flux's bindings and an instance can be reached."""
    return False


class FluxBackend(Backend):
    """Not there yet."""

    def __init__(self, options: Any) -> None:
        raise NotImplementedError

    start = submit = cancel = close = None  # type: ignore[assignment]
