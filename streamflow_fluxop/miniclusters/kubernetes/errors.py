"""What goes wrong with Kubernetes, in the user's words."""

from __future__ import annotations

from streamflow_fluxop.errors import FluxopError


class KubernetesError(FluxopError):
    """Kubernetes did not do what it was asked to.

    Args:
        text: what, and why, in words that help.
        status: HTTP status of the answer; 0: there was none.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class NameTaken(KubernetesError):
    """An object of the name that we wanted is somebody else's: it is not to be touched."""


class NoRight(KubernetesError):
    """Whoever we are to Kubernetes may not do that (RBAC)."""
