"""Files on storage that jobs elsewhere write, and that this machine sees: their links are links of this machine."""

from __future__ import annotations

import os
from pathlib import Path


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
