"""A folder of the user's alone on another host, for jobs whose work directory nobody has named."""

from __future__ import annotations

import logging
import re

from streamflow_fluxop.errors import FluxopError
from streamflow_fluxop.miniclusters.ssh.flux_instance import RemoteRunner
from streamflow_fluxop.private import is_private

logger = logging.getLogger(__name__)

FOLDER = """\
me=$(id -u) && cd && folder=$(pwd)/.streamflow-work || exit
[ -z "$1" ] || folder=$1/streamflow-$me
if [ "$2" = first ]; then
  mkdir -m 700 "$folder" 2>/dev/null
  if [ -n "$(find "$folder" -prune -type d -user "$me" 2>/dev/null)" ]; then
    chmod 700 "$folder" && echo "$folder"; exit
  fi
fi
umask 077; folder=$(mktemp -d "$folder-XXXXXXXXXX") && echo "$folder"
"""
"""Says a folder of the user's alone, in $1 or, if that is empty, at home; $2: `first` if it may be one that was there.

`find` looks once and follows no link, so nobody can exchange what it looks at; what is ours in /tmp only we can move.
"""

_ANSWER = re.compile(r"/(.*/)?(streamflow-\d+|\.streamflow-work)(-\w+)?")


class NoFolder(FluxopError):
    """None can be made there."""


async def own_folder(run: RemoteRunner, parent: str) -> str:
    """A folder that is the user's alone there, and on this machine, too, where it can be made.

    Somebody else may have taken its name on either: then it is another, unguessable one.

    Args:
        run: reaches the host.
        parent: where it is to be; empty: in the user's home.

    Raises:
        NoFolder: and why.
        OSError: the host cannot be reached, as `run` says it.
    """
    for which in ("first", "other"):
        code, said = await run(FOLDER, parent, which)
        folder = said.splitlines()[-1] if said else ""
        if code or not _ANSWER.fullmatch(folder) or not folder.startswith(f"{parent}/"):
            raise NoFolder(said or f"exit code {code}")
        if _is_ours_here(folder):
            return folder
    raise NoFolder(f"{folder} belongs to somebody else on this machine")


def _is_ours_here(folder: str) -> bool:
    try:
        return is_private(folder)
    except OSError as error:  # a home that only the host has
        logger.debug("%s is no folder of this machine: %s", folder, error)
        return True
