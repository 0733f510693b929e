"""Files that jobs have written and that this machine sees: where their links lead."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

FOLLOWED_MAX = 1_000_000
"""Files that a copy of a directory may have more than the directory: what links in it lead to is copied, too."""


def leads_out(path: str, folder: str) -> str | None:
    """Where a file or directory, or a link in it, leads out of a folder; None: nowhere."""
    inside = Path(os.path.realpath(folder))
    found = os.path.realpath(path)
    if not Path(found).is_relative_to(inside):
        return found
    for place, directories, files in os.walk(found):
        for name in (*directories, *files):
            entry = os.path.join(place, name)
            if os.path.islink(entry) and not Path(os.path.realpath(entry)).is_relative_to(inside):
                return f"{entry} -> {os.path.realpath(entry)}"
    return None


_LEADS_UP = """\
for l; do [ -d "$l" ] || continue; t=$(readlink -f "$l"); p=$(readlink -f "${l%/*}")
case $p/ in "$t"/*) printf "%s\\n" "$l"; exit;; esac; done"""


def leads_up(path: str) -> str:
    """A command line that names links below an absolute path that lead to a directory above themselves."""
    return f"find {shlex.quote(path)} -type l -exec sh -c {shlex.quote(_LEADS_UP)} sh {{}} +"


def never_ends(path: str) -> str | None:
    """Why a copy of a directory, with files in place of its links, would be without end; None: it would not.

    Each directory is looked at once, however many links lead to it.
    """
    top = os.path.realpath(path)
    seen = {top: _inside(top)}
    todo = {top: iter(seen[top][1])}
    totals: dict[str, int] = {}
    way = [top]
    while way:
        folder = way[-1]
        below = next((f for f in todo[folder] if f not in totals), None)
        if below is None:
            files, folders = seen[folder]
            totals[folder] = files + sum(totals[f] for f in folders)
            way.pop()
            del todo[folder]
        elif below in todo:  # of which we are looking at a part
            return f"a link in it leads back to {below}"
        else:
            seen[below] = _inside(below)
            todo[below] = iter(seen[below][1])
            way.append(below)
    if totals[top] - sum(files for files, _ in seen.values()) > FOLLOWED_MAX:
        return f"links in it make more than {FOLLOWED_MAX} files of its own ones"
    return None


def _inside(folder: str) -> tuple[int, list[str]]:
    """How many entries a directory has, and the real paths of its directories, by links, too."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError:  # as the copy will say
        return 0, []
    folders = [os.path.realpath(e.path) if e.is_symlink() else e.path for e in found if os.path.isdir(e.path)]
    return len(found), folders
