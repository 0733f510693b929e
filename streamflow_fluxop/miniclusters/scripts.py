"""Scripts that run on this machine, outside of any MiniCluster."""

from __future__ import annotations

import asyncio
import os
import signal

from streamflow_fluxop.miniclusters.base import ClusterError


async def here(script: str, timeout: float) -> tuple[int, str]:
    """Run a script for `/bin/sh`; what it starts ends with it.

    Args:
        script: what to run.
        timeout: seconds after which it is ended.

    Returns:
        Its exit code and output, standard error with it.

    Raises:
        ClusterError: it takes too long.
    """
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        script,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout)
    except asyncio.TimeoutError:
        raise ClusterError(f"not done after {timeout:.0f} s") from None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")
