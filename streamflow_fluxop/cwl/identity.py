"""Which tool a step runs, whatever workflow it stands in, and how large the inputs of its jobs are."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from streamflow_fluxop.cwl.known_values import UNKNOWN, Port
from streamflow_fluxop.cwl.parsed_documents import Process

_WHAT_IT_RUNS = ("class", "baseCommand", "arguments", "inputs", "stdin")


def tool_identity(process: Process) -> str | None:
    """A word for a tool: its file's name and a digest of what it runs. Equal tools have equal words.

    What it asks for (cores, memory, image) does not count, nor where its file lies. None where its text is not known.
    """
    if not isinstance(process.yaml, Mapping):
        return None
    parts = {key: process.yaml[key] for key in _WHAT_IT_RUNS if key in process.yaml}
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    return f"{os.path.basename(process.file)} {digest[:12]}"


def sizes_of(ports: Mapping[str, Port], jobs: int, most: int = 10_000) -> tuple[int, ...]:
    """Bytes of the files that each job gets; empty where that is not known of all, or where no job gets any file.

    Args:
        ports: the inputs of the jobs.
        jobs: how many there are.
        most: for more jobs than this nobody looks.
    """
    if not 0 < jobs <= most or any(p.producers for p in ports.values()):
        return ()
    columns = [port.values for port in ports.values()]
    found = [total([column[n] for column in columns]) for n in range(jobs)]
    return tuple(size for size in found if size is not None) if any(found) and None not in found else ()


def total(value: Any) -> int | None:
    """Bytes of all files in a CWL value; None where that of one is not known.

    Directories count as nothing, as nobody knows what they hold before they are listed.
    """
    if value is UNKNOWN:
        return None
    if isinstance(value, Mapping):
        if value.get("class") == "File":
            parts = [_size(value), *(total(other) for other in value.get("secondaryFiles") or [])]
        else:
            parts = [total(part) for part in value.values()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        parts = [total(part) for part in value]
    else:
        return 0
    return None if None in parts else sum(part for part in parts if part is not None)


def _size(file: Mapping[str, Any]) -> int | None:
    known = file.get("size")
    if isinstance(known, int):
        return known
    if isinstance(file.get("contents"), str):
        return len(file["contents"].encode())
    location = str(file.get("location") or file.get("path") or "")
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    try:
        return os.stat(path).st_size if os.path.isabs(path) else None
    except OSError:
        return None
