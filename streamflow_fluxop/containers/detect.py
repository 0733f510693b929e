"""Which engines work at a place: a line for its shell, and what the answer says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamflow_fluxop.containers.engines import ENGINES, Engine, EngineName

PROBE = r"""
ask() { command -v timeout >/dev/null && set -- timeout 20 "$@"; "$@" 2>&1 </dev/null; }
said() { printf '%s\t' "$@" | tr '\n' ' '; echo; }
u=$(id -u):$(id -g)
i=${APPTAINER_CACHEDIR:-${SINGULARITY_CACHEDIR:-${XDG_CACHE_HOME:-$HOME/.cache}}}/streamflow-fluxop/images
for e in apptainer singularity; do
  command -v $e >/dev/null || continue
  if v=$(ask $e version); then said $e ok "$v" "$u" "$i"; else said $e bad "$v"; fi
done
if command -v podman >/dev/null; then
  if v=$(ask podman info --format '{{.Version.Version}} {{.Host.OCIRuntime.Name}}'); then said podman ok "$v" "$u"
  else said podman bad "$v"; fi
fi
if command -v docker >/dev/null; then
  if v=$(ask docker info --format '{{.ServerVersion}} {{.SecurityOptions}}'); then said docker ok "$v" "$u"
  else said docker bad "$v"; fi
fi
if command -v ch-run >/dev/null; then
  export USER="${USER:-$(id -un)}"
  if ! command -v unshare >/dev/null || ask unshare --user true >/dev/null; then
    said charliecloud ok "$(ask ch-run --version)" "$u" "$i"
  else said charliecloud bad 'user namespaces are not allowed'; fi
fi
"""
"""For /bin/sh: a line an engine that is there: `ok` or `bad`, what it says, who asks. At most 20 s an engine."""


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
