"""Where the user names no work directory, it is a folder of the user's alone. A repair of StreamFlow 0.2, in place.

StreamFlow works in /tmp/streamflow, which belongs to whoever made it first: on a login node that user can read and
replace what other users' runs write there, or stop them with a file of that name. Which folder it is on another host,
only that host can say: its fleet asks when it is deployed, before any job has a directory.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

from streamflow.core.deployment import Target
from streamflow.deployment.connector.local import LocalConnector

from streamflow_fluxop.private import work_folder

NOT_KNOWN = "/tmp/streamflow-USER"
"""Work directory of a fleet's targets until `settle`; StreamFlow may note it in its database."""

_targets: weakref.WeakSet[Target] = weakref.WeakSet()
_settled: dict[str, str] = {}


def work_in_own_folders() -> None:
    """Mend where StreamFlow works on this machine unless it is told where; a second call changes nothing."""
    if not hasattr(Target.__init__, "__wrapped__"):
        Target.__init__ = _in_own_folder(Target.__init__)
        LocalConnector.deploy = _making_own_folder(LocalConnector.deploy)


def settle(deployment: str, folder: str) -> None:
    """All targets of a deployment whose work directory was not known work in this one, later ones too."""
    _settled[deployment] = folder
    for target in _targets:
        if target.deployment.name == deployment and target.workdir == NOT_KNOWN:
            target.workdir = folder


def not_settled(deployment: str) -> bool:
    """Whether a deployment has targets whose work directory is not known."""
    return any(t.deployment.name == deployment and t.workdir == NOT_KNOWN for t in _targets)


def _in_own_folder(init: Any) -> Any:
    @functools.wraps(init)
    def wrapper(self: Target, deployment: Any, *args: Any, **kwargs: Any) -> None:
        init(self, deployment, *args, **kwargs)
        said = kwargs.get("workdir", args[2] if len(args) > 2 else None)
        if deployment.type == "local" and not (said or deployment.workdir):
            self.workdir = work_folder()
        elif deployment.type == "minicluster" and said in (None, NOT_KNOWN) and not deployment.workdir:
            self.workdir = _settled.get(deployment.name, NOT_KNOWN)
            _targets.add(self)

    return wrapper


def _making_own_folder(deploy: Any) -> Any:
    @functools.wraps(deploy)
    async def wrapper(self: LocalConnector, external: bool) -> None:
        work_folder()

    return wrapper
