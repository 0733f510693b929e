"""What the agent has to say beside the protocol: it goes to stderr, which the client logs."""

from __future__ import annotations

import sys
import traceback


def log(text: str) -> None:
    """Say something; when nobody listens any more, the agent still has to clean up."""
    try:
        print(f"agent: {text}", file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None  # print() then says nothing


def log_exception() -> None:
    """Say which exception is being handled."""
    log(traceback.format_exc())
