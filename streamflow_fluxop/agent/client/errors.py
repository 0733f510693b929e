"""What goes wrong between client and agent."""

from __future__ import annotations

from streamflow_fluxop.errors import FluxopError


class ConnectionLost(FluxopError):
    """A MiniCluster's agent is out of reach for good, or has lost what it knew; what ran there may be gone, too.

    Nobody can tell whether what was under way has run, or how far: whoever may run it again can.

    Args:
        name: of the MiniCluster.
        why: what was seen.
        last_words: the agent's last lines on stderr.
    """

    def __init__(self, name: str, why: str, last_words: str = "") -> None:
        said = f"; its last words were:\n{last_words}" if last_words else ""
        super().__init__(f"lost the connection to MiniCluster {name}: {why}{said}")
        self.name = name
        self.why = why


class AgentError(FluxopError):
    """The agent could not do what it was asked to."""


class AgentGone(FluxopError):
    """What a stream led to is gone for good, such as a deleted pod: it makes no sense to connect again.

    Args:
        why: in words that help.
    """
