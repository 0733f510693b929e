"""What the agent has to say beside the protocol: it goes to stderr, which the client logs."""

from __future__ import annotations

import os
import traceback


def log(text: str) -> None:
    """Say something; when nobody listens any more, the agent still has to go on."""
    try:
        os.write(2, f"agent: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def log_exception() -> None:
    """Say which exception is being handled."""
    log(traceback.format_exc())
