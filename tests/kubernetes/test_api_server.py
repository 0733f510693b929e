"""The API server itself is away for a while: frozen, or killed and started again. Jobs go on.

Nothing else may use the cluster meanwhile, so FLUXOP_TEST_API_SERVER=1 asks for it, with `-n 0`; and the cluster has to
be one of `../shared/kube/kube`, which leaves the ids of its processes beside its kubeconfig.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from kubernetes_asyncio.client import ApiException
from namespaces import Namespace, eventually
from test_faults import SMALL, fleet, job

AWAY = 20.0  # seconds
ASKED_FOR = "FLUXOP_TEST_API_SERVER" in os.environ
RUN = Path(os.environ.get("KUBECONFIG", "none")).parent
PID = RUN / "pid" / "apiserver"

pytestmark = pytest.mark.skipif(
    not (ASKED_FOR and PID.exists()), reason="stops the API server: FLUXOP_TEST_API_SERVER=1 asks for it"
)


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    """Connections stay open, and nothing comes over them."""
    pid = int(PID.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def killed() -> Iterator[None]:
    """Connections break, and new ones are refused."""
    pid = int(PID.read_text())
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        with (RUN / "log" / "apiserver").open("ab") as log:
            again = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        PID.write_text(f"{again.pid}\n")
        again.returncode = 0  # it outlives us: nobody is to wait for it


@pytest.mark.parametrize("away", [frozen, killed], ids=lambda away: away.__name__)
async def test_jobs_go_on_none_runs_twice_and_no_output_is_lost(
    namespace: Namespace, away: Callable[[], AbstractContextManager[None]]
) -> None:
    def once(seconds: int) -> asyncio.Task[str]:
        """A job that says how often it ran."""
        command = f"echo x >>/tmp/ran-{seconds}; sleep {seconds}; echo after {seconds} s; wc -l </tmp/ran-{seconds}"

        async def output() -> str:
            return str((await minicluster.client.run_job(job(command))).output)

        return asyncio.create_task(output())

    async with fleet(namespace, flavour={**SMALL, "cores": 16}) as made:
        minicluster = made.minicluster()
        try:
            await asyncio.wait_for(minicluster.up(), 90)
            lasts = [0, 3, 8, 15, 25, 40]  # some end before, some while it is away, and some later
            running = [once(n) for n in lasts]
            assert await running[0] == "after 0 s\n1\n"
            with away():
                await asyncio.sleep(AWAY / 2)
                asked_meanwhile = once(1)
                await asyncio.sleep(AWAY / 2)
            outputs = await asyncio.wait_for(asyncio.gather(*running), 120)
            assert outputs == [f"after {n} s\n1\n" for n in lasts]
            assert await asyncio.wait_for(asked_meanwhile, 60) == "after 1 s\n1\n"
            await eventually(lambda: answers(namespace), 60)
        finally:
            await minicluster.down()


async def answers(namespace: Namespace) -> None:
    try:
        assert await namespace.pods()
    except (ApiException, OSError, asyncio.TimeoutError) as error:
        raise AssertionError(str(error)) from None
