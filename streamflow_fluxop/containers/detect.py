"""Which engines work at a place: a line for its shell, and what the answer says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamflow_fluxop.containers.engines import ENGINES, Engine, EngineName

PROBE = r"""
ask() { if command -v timeout >/dev/null; then timeout 30 "$@" 2>&1 </dev/null; else "$@" 2>&1 </dev/null; fi; }
said() { printf '%s\t' "$@" | tr '\n' ' '; echo; }
u=$(id -u):$(id -g)
i=${APPTAINER_CACHEDIR:-${SINGULARITY_CACHEDIR:-${XDG_CACHE_HOME:-$HOME/.cache}}}/streamflow-fluxop/images
export USER="${USER:-$(id -un)}"
root=$(mktemp -d) && trap 'rm -rf "$root"' EXIT
for d in proc sys dev tmp etc run var home; do mkdir "$root/$d"; done
for d in bin sbin lib lib64; do
  if [ -L /$d ]; then ln -s "$(readlink /$d)" "$root/$d"; elif [ -d /$d ]; then mkdir "$root/$d"; fi
done
mkdir "$root/usr"
true=$(command -v /usr/bin/true || echo /bin/true)
binds() { for d in /usr /bin /lib /lib64; do [ -d $d ] && [ ! -L $d ] && printf '%s %s:%s%s ' "$1" $d $d "$2"; done; }
try() {  # engine, what it says of itself, and how it runs something
  e=$1 v=$2; shift 2
  if t=$(ask "$@"); then said $e ok "$v" "$u" "$i"; else said $e bad "$t"; fi
}
for e in apptainer singularity; do
  command -v $e >/dev/null || continue
  if v=$(ask $e version); then try $e "$v" $e --quiet exec --contain $(binds --bind :ro) "$root" $true
  else said $e bad "$v"; fi
done
if command -v podman >/dev/null; then
  if v=$(ask podman info --format '{{.Version.Version}} {{.Host.OCIRuntime.Name}}'); then
    case $v in *crun) c=--cgroups=disabled ;; *) c= ;; esac
    try podman "$v" podman run --rm $c --network=none --log-driver=none $(binds --volume :ro) --rootfs "$root" $true
  else said podman bad "$v"; fi
fi
if command -v docker >/dev/null; then
  if v=$(ask docker info --format '{{.ServerVersion}} {{.SecurityOptions}}'); then said docker ok "$v" "$u" ""
  else said docker bad "$v"; fi
fi
if command -v ch-run >/dev/null; then
  try charliecloud "$(ask ch-run --version)" ch-run --no-passwd $(binds --bind '') "$root" -- $true
fi
"""
"""For /bin/sh: a line an engine that is there: `ok` or `bad`, what it says, who asks, where its images go.

Each has to run something, with this machine's own programs as its image: one that is only installed is of no use.
"""


def read_probe(text: str) -> tuple[dict[EngineName, Engine], dict[EngineName, str]]:
    """What `PROBE` has printed.

    Args:
        text: its output.

    Returns:
        Engines that work, and of those that are there and don't, what they say.
    """
    working: dict[EngineName, Engine] = {}
    broken: dict[EngineName, str] = {}
    for line in text.splitlines():
        name, state, *rest = [part.strip() for part in line.split("\t")]
        engine = next((e for e in ENGINES if e == name), None)
        if engine is None:
            continue
        if state != "ok":
            broken[engine] = rest[0] if rest else ""
            continue
        uid, _, gid = rest[1].partition(":")
        version, _, more = rest[0].partition(" ")
        found = Engine(engine, version, int(uid), int(gid), images=rest[2] if len(rest) > 2 else "")
        if not found.has_files:
            found = replace(found, images="")
        if engine == "podman":
            found = replace(found, runtime=more.split(" ")[0])
        elif engine == "docker":
            found = replace(found, rootless="rootless" in more)
        working[engine] = found
    return working, broken


def choose(working: Mapping[EngineName, Engine], wanted: str) -> Engine | None:
    """The engine that `containers:` means: of `auto` the first that works; None where there is none."""
    if wanted == "auto":
        return next((working[name] for name in ENGINES if name in working), None)
    return next((engine for name, engine in working.items() if name == wanted), None)
