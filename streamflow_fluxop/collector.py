"""Python's cyclic garbage collector, paused where it only costs time."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def paused() -> Iterator[None]:
    """No collections inside, as a context or as a decorator.

    Reading or planning 100 000 steps makes millions of objects that all stay: to look for garbage among them again
    and again takes three quarters of the reading and a third of the planning.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if not gc.get_freeze_count():  # nobody else's: both at once make everything old, and look at nothing
                gc.freeze()
                gc.unfreeze()
            gc.enable()
