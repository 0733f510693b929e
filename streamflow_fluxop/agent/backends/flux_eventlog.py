"""What Flux's eventlogs say of a job's output, and of the shells that were to run it."""

from __future__ import annotations

import json
from base64 import b64decode

from streamflow_fluxop.agent.backends.measuring import Used, used_in
from streamflow_fluxop.agent.system.output import Tail

_LOG_ERROR = 3  # of flux-shell's levels


def job_output(events: str) -> tuple[Tail, list[Used]]:
    """What an eventlog of RFC 24 (`guest.output`) tells.

    Returns:
        The output, with what Flux's shell has to say about it; and what tasks used that were measured.
    """
    output, used = Tail(), []
    for line in events.splitlines():
        entry = json.loads(line)
        context = entry["context"]
        if entry["name"] == "data" and "data" in context:
            data = context["data"]
            raw = b64decode(data) if context.get("encoding") == "base64" else data.encode("utf-8", "surrogateescape")
            raw, told = used_in(raw)
            used += told
            output.add(raw * context.get("repeat", 1))
        elif entry["name"] == "log" and (context.get("level", 9) <= _LOG_ERROR or "truncated" in context["message"]):
            output.add(f"flux-shell[{context.get('rank', 0)}]: {context['message']}\n".encode("utf-8", "replace"))
    return output, used


def shell_words(events: str) -> str:
    """What the shells have written themselves, beside their job's output: `guest.exec.eventlog` has it."""
    contexts = [json.loads(line).get("context", {}) for line in events.splitlines()]
    said = [str(c.get("data", "")).strip() for c in contexts if c.get("stream") == "stderr"]
    return "\n".join(dict.fromkeys(filter(None, said)))
