"""A Flux instance on another host, which lives on when the connection ends, in a folder of its own there."""

from __future__ import annotations

import uuid
from typing import Protocol

from streamflow_fluxop.config.ssh import SSHConfig
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.local import flavour_config
from streamflow_fluxop.model import Flavour

_SHORT = 30.0  # seconds that a small command of ours may take there
_START = 120.0  # seconds until Flux must be up; a launcher may have to wait in a queue: then `bring_up_timeout` counts

START = """\
umask 077; mkdir "$1" || exit; cd "$1" || exit
printf %s "$2" >config.toml
cat >instance <<'END'
printf '%s %s' "$(hostname)" "$FLUX_URI" >uri.new && mv uri.new uri
exec sleep 2147483647
END
cat >life <<'END'
trap : TERM; folder=$1; shift; "$@"
[ -e "$folder/uri" ] || { : >"$folder/failed"; sleep 60; }
rm -rf "$folder"
END
folder=$1; shift 2
setsid sh life "$folder" "$@" sh "$folder/instance" </dev/null >log 2>&1 &
echo $! >pid
"""
"""Starts an instance that lives on when the channel ends. $1: its folder, $2: its configuration, then the command."""

WAIT = """\
cd "$1" || exit
until [ -e uri ]; do [ ! -e failed ] || { tail -n 20 log; exit 1; }; sleep 0.1; done
read -r host uri <uri || [ -n "$uri" ] || exit
case $host in "$(hostname)") echo "$uri";; *) echo "ssh://$host${uri#local://}";; esac
"""
"""Says the URI of the instance in the folder $1, as this host reaches it (flux-uri(1))."""

END = """\
cd "$1" 2>/dev/null || exit 0
pid=$(cat pid 2>/dev/null) || exit 0
kill -TERM -"$pid" 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e "$1" ] || exit 0; sleep 0.5; done
kill -KILL -"$pid" 2>/dev/null; rm -rf "$1"
"""
"""Ends what is left of the instance in the folder $1."""


class RemoteRunner(Protocol):
    """Runs a script on the host, and gives its exit code and output."""

    async def __call__(self, script: str, *arguments: str, timeout: float | None = _SHORT) -> tuple[int, str]:
        """With these arguments, for so many seconds at most."""


class RemoteInstance:
    """One instance; its nodes are as the flavour says, unless a launcher brings real ones.

    Args:
        run: reaches the host.
        config: names Flux and the launcher there.
        name: of the MiniCluster.
        flavour: of its nodes.
        size: how many.
    """

    def __init__(self, run: RemoteRunner, config: SSHConfig, name: str, flavour: Flavour, size: int) -> None:
        self._run = run
        self._config = config
        self._name = name
        self._flavour = flavour
        self._size = size
        self._folder = ""

    async def start(self) -> str:
        """Start it, and give its URI.

        Raises:
            MiniClusterError: Flux does not start.
            OSError: the host cannot be reached, as `run` says it.
        """
        name, launched = f"fluxop-{uuid.uuid4().hex[:12]}", bool(self._config.launcher)
        # with a launcher other nodes have to see it
        self._folder = f"{await self._home()}/.{name}" if launched else f"/tmp/{name}"
        start, config = [self._config.flux, "start"], ""
        if not launched:
            start += [f"--test-size={self._size}", f"--config-path={self._folder}/config.toml"]
            config = flavour_config(self._name, self._flavour, self._size)
        launcher = [word.replace("{size}", str(self._size)) for word in self._config.launcher]
        code, said = await self._run(START, self._folder, config, *launcher, *start)
        if code == 0:
            code, said = await self._run(WAIT, self._folder, timeout=None if launched else _START)
        if code or not said:
            raise MiniClusterError(self._name, f"Flux does not start on {self._config.host}: {said or code}")
        return said.splitlines()[-1]

    async def end(self) -> tuple[int, str]:
        """End what is left of it; gives exit code and output of what did that."""
        return await self._run(END, self._folder) if self._folder else (0, "")

    async def _home(self) -> str:
        _, home = await self._run("cd && pwd")
        return home
