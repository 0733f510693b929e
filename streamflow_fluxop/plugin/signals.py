"""SIGTERM cleans up as Ctrl-C does: StreamFlow itself would die at once and leave everything behind."""

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

_terminated = False
_run: asyncio.Task[object] | None = None
_previous_hook = sys.excepthook


def terminate_like_interrupt() -> None:
    """From now on SIGTERM cancels the run as Ctrl-C does; the exit code is 143 (128 + SIGTERM), or 130 for Ctrl-C.

    Does nothing where somebody else handles SIGTERM, outside the main thread, or where no event loop runs.
    """
    global _previous_hook, _run
    if threading.current_thread() is not threading.main_thread() or not _looping():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        _run = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _terminate)
    if sys.excepthook is not _end_by_signal:
        _previous_hook, sys.excepthook = sys.excepthook, _end_by_signal


def terminated() -> bool:
    """Whether a SIGTERM has come."""
    return _terminated


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _terminate() -> None:
    global _terminated
    if _terminated:
        logger.warning("SIGTERM: everything is going down already")
        return
    _terminated = True
    logger.warning("SIGTERM: taking everything down")
    assert _run is not None
    _run.cancel()  # as asyncio does on Ctrl-C


def _end_by_signal(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End as the signal says, and without a traceback: an interrupt is the user's wish, not a defect."""
    if issubclass(kind, KeyboardInterrupt) or (_terminated and issubclass(kind, asyncio.CancelledError)):
        end_by_signal()
    _previous_hook(kind, error, trace)


def end_by_signal() -> NoReturn:
    """End this process as an interrupt, or a SIGTERM, ends one that does not care."""
    logging.shutdown()
    sys.stdout.flush()
    number = signal.SIGTERM if _terminated else signal.SIGINT
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)  # it was blocked
