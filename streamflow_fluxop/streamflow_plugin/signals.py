"""Ctrl-C and SIGTERM take everything down, and a second one does not stop that.

StreamFlow itself would die of a SIGTERM at once, and asyncio ends everything at the second Ctrl-C: the agents with
their jobs, too, which it kills before they can end what they started.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from types import TracebackType
from typing import NoReturn

logger = logging.getLogger(__name__)

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

_received: signal.Signals | None = None
_run: asyncio.Task[object] | None = None
_previous_hook = sys.excepthook


def terminate_like_interrupt() -> None:
    """From now on the first SIGTERM or Ctrl-C cancels the run; the exit code is 143 (128 + SIGTERM), or 130 for Ctrl-C.

    Leaves a signal alone that somebody else handles or ignores; does nothing outside the main thread, or where no
    event loop runs.
    """
    global _previous_hook, _run
    if threading.current_thread() is not threading.main_thread() or not _looping():
        return
    loop, _run = asyncio.get_running_loop(), asyncio.current_task()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        loop.add_signal_handler(signal.SIGTERM, _end, signal.SIGTERM)
    if _is_python_s(signal.getsignal(signal.SIGINT)):
        loop.add_signal_handler(signal.SIGINT, _end, signal.SIGINT)
    if sys.excepthook is not _end_by_signal:
        _previous_hook, sys.excepthook = sys.excepthook, _end_by_signal


def terminated() -> bool:
    """Whether the run ends because of a SIGTERM."""
    return _received is signal.SIGTERM


def ending() -> bool:
    """Whether the run ends because of a signal."""
    return _received is not None


def _is_python_s(handler: object) -> bool:
    """Whether it is the one of Python, or that of asyncio's runner (3.11), a partial of its `_on_sigint`."""
    of_runner = getattr(getattr(handler, "func", None), "__qualname__", "")
    return handler is signal.default_int_handler or of_runner == "Runner._on_sigint"


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _end(number: signal.Signals) -> None:
    global _received
    if _received is not None:
        logger.warning(
            "%s: everything is going down already; `kill -9 %d` ends this at once, and what is up soon after",
            _NAMES[number], os.getpid(),
        )  # fmt: skip
        return
    _received = number
    logger.warning("%s: taking everything down", _NAMES[number])
    assert _run is not None
    _run.cancel()


def _end_by_signal(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End as the signal says, and without a traceback: an interrupt is the user's wish, not a defect."""
    if issubclass(kind, KeyboardInterrupt) or (_received and issubclass(kind, asyncio.CancelledError)):
        end_by_signal()
    _previous_hook(kind, error, trace)


def end_by_signal() -> NoReturn:
    """End this process as an interrupt, or a SIGTERM, ends one that does not care."""
    logging.shutdown()
    sys.stdout.flush()
    number = _received or signal.SIGINT
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)  # it was blocked
