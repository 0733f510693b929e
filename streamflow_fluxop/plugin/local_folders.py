"""What StreamFlow does on this machine itself is done in a folder of the user's. A repair of StreamFlow 0.2, in place.

It works in /tmp/streamflow, which belongs to whoever made it first: on a login node that user can read and replace what
other users' runs write there, or stop them with a file of that name.
"""

from __future__ import annotations

import functools
from typing import Any

from streamflow.core.deployment import Target
from streamflow.deployment.connector.local import LocalConnector

from streamflow_fluxop.private import work_folder


def work_in_own_folders() -> None:
    """Mend where StreamFlow works on this machine unless it is told where; a second call changes nothing."""
    if not hasattr(Target.__init__, "__wrapped__"):
        Target.__init__ = _in_own_folder(Target.__init__)
        LocalConnector.deploy = _making_own_folder(LocalConnector.deploy)


def _in_own_folder(init: Any) -> Any:
    @functools.wraps(init)
    def wrapper(self: Target, deployment: Any, *args: Any, **kwargs: Any) -> None:
        init(self, deployment, *args, **kwargs)
        said = kwargs.get("workdir", args[2] if len(args) > 2 else None)
        if deployment.type == "local" and not (said or deployment.workdir):
            self.workdir = work_folder()

    return wrapper


def _making_own_folder(deploy: Any) -> Any:
    @functools.wraps(deploy)
    async def wrapper(self: LocalConnector, external: bool) -> None:
        work_folder()

    return wrapper
