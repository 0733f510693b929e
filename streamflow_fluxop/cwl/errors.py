from __future__ import annotations

from streamflow_fluxop.errors import UserError


class UnreadableCWL(UserError):
    """The CWL documents can't be read; StreamFlow, which reads them with the same parser, could not run them either."""
