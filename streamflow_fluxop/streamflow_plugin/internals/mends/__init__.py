"""What we mend in StreamFlow itself, in place, as a workflow would give wrong results without a word otherwise.

Each mend is a module here that says what is wrong, in which versions it was seen, and tries whether it still is: where
StreamFlow is right by itself, it is left alone. Only runs that have a deployment of type `minicluster` are mended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

logger = logging.getLogger(__name__)

_MENDS = ("command_values", "hints", "empty_scatter", "paths", "outputs", "record_fields", "containers")
"""The modules, each with a `MEND`."""


@dataclass(frozen=True)
class Mend:
    """One thing that is wrong in StreamFlow.

    Args:
        what: in a few words.
        seen_in: versions of StreamFlow that it was seen in.
        is_needed: whether it is wrong in the StreamFlow that is installed; tried, never read off its version.
        apply: makes it right, for this process.
    """

    what: str
    seen_in: str
    is_needed: Callable[[], bool]
    apply: Callable[[], None]


def mend_streamflow() -> None:
    """Apply the mends that are needed; a second call changes nothing, as none of them is any more."""
    for name in _MENDS:
        try:
            mend: Mend = import_module(f"{__name__}.{name}").MEND
            if mend.is_needed():
                mend.apply()
                logger.debug("mended in StreamFlow (seen in %s): %s", mend.seen_in, mend.what)
        except (ImportError, AttributeError, LookupError, TypeError, OSError) as error:
            logger.warning("StreamFlow is made otherwise than we know it: it was not checked for %s (%s)", name, error)
