"""Before a run: which engine on this machine will run a fleet's containers, and what can't be run without one."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from streamflow_fluxop.containers.detect import PROBE, choose, read_probe
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.streamflow_plugin.containers import not_working

if TYPE_CHECKING:
    from streamflow_fluxop.streamflow_plugin.current_run import FleetRun

logger = logging.getLogger(__name__)

_PROBE_TIME = 90.0


def find_engine(run: FleetRun, programs: Iterable[tuple[str, str]], where: str) -> Iterator[UserError]:
    """Look for the engine of a fleet whose jobs run on this machine, if a step has an image.

    Args:
        run: the fleet; its engine is filled in.
        programs: of each step with an image, its name and the first word of its command.
        where: `containers` is in the StreamFlow file.
    """
    images = run.images()
    wanted = run.config.containers
    if not images or wanted == "none" or run.config.cluster != "local":
        return
    try:
        said = subprocess.run(
            ["/bin/sh", "-c", PROBE], capture_output=True, text=True, errors="replace", timeout=_PROBE_TIME, check=False
        ).stdout
    except subprocess.TimeoutExpired:
        said = ""
    working, broken = read_probe(said)
    run.engine = choose(working, wanted)
    if run.engine is not None:
        return
    if wanted != "auto":
        yield UserError(
            not_working(wanted, broken),
            where=where,
            fix=f"These work: {', '.join(working)}." if working else "Leave it out: steps then run as they are.",
        )
        return
    run.no_engine = True
    missing = [f"{program} ({step})" for step, program in programs if shutil.which(program) is None]
    if missing:
        logger.warning(
            "no container engine works here, and these programs of steps with an image are not on the PATH: %s",
            ", ".join(missing),
        )
