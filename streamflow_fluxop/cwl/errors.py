from __future__ import annotations

from streamflow_fluxop.errors import UserError


class UnreadableCWL(UserError):
    """The CWL documents can't be read: StreamFlow refuses them too, and its message is the better one.

    Who runs inside `streamflow run` ignores this error and lets StreamFlow speak; `fluxop plan` shows it.
    """
