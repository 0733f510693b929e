"""`fluxop clean` on a namespace with leftovers."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from namespaces import Namespace, eventually

from streamflow_fluxop.events import RunEnded
from streamflow_fluxop.events.writing import EventLog

FLUXOP = [sys.executable, "-c", "from streamflow_fluxop.cli import app; app()"]


async def fluxop(*arguments: str, kubeconfig: Path) -> tuple[int, str]:
    """Exit code, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *FLUXOP,
        *arguments,
        env={**{k: v for k, v in os.environ.items() if k != "COLUMNS"}, "KUBECONFIG": str(kubeconfig)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def left(namespace: Namespace) -> list[str]:
    return sorted(m["metadata"]["name"] for m in await namespace.miniclusters())


async def test_it_removes_what_one_run_left_and_nothing_else(namespace: Namespace) -> None:
    await namespace.minicluster("old-1", run="aaa111", size=1)
    await namespace.minicluster("new-1", run="bbb222", size=1)
    await namespace.minicluster("somebody-elses", size=1)
    code, printed = await fluxop("clean", "--run", "aaa111", "--yes", kubeconfig=namespace.kubeconfig)
    assert code == 0, printed
    assert "old-1" in printed
    assert "1 removed" in printed
    assert await left(namespace) == ["new-1", "somebody-elses"]
    code, printed = await fluxop("clean", "--yes", kubeconfig=namespace.kubeconfig)
    assert code == 0, printed
    assert await left(namespace) == ["somebody-elses"]
    await namespace.wipe()


async def test_it_waits_until_the_pods_are_gone(namespace: Namespace) -> None:
    await namespace.minicluster("old-1", run="aaa111", size=2)

    async def pods() -> None:
        assert len(await namespace.pods()) == 2

    await eventually(pods)
    code, printed = await fluxop("clean", "--yes", kubeconfig=namespace.kubeconfig)
    assert code == 0, printed
    assert await namespace.pods() == []


async def test_without_a_yes_it_only_lists(namespace: Namespace) -> None:
    await namespace.minicluster("old-1", run="aaa111", size=1)
    code, printed = await fluxop("clean", kubeconfig=namespace.kubeconfig)
    assert code == 0
    assert "aaa111" in printed
    assert "nothing was removed" in printed
    assert await left(namespace) == ["old-1"]
    await namespace.wipe()


async def test_an_empty_namespace_has_nothing_left(namespace: Namespace) -> None:
    assert await fluxop("clean", kubeconfig=namespace.kubeconfig) == (0, "nothing is left\n")


async def test_runs_that_are_still_going_here_keep_theirs(namespace: Namespace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FLUXOP_RUNS", str(tmp_path))
    log = EventLog.of_new_run()
    await namespace.minicluster("going-1", run=log.run, size=1)
    await namespace.minicluster("old-1", run="aaa111", size=1)

    async def pods_are_there() -> None:  # else one might come after its MiniCluster has gone, and go a little later
        assert await namespace.pod("going-1", 0)
        assert await namespace.pod("old-1", 0)

    await eventually(pods_are_there)
    code, printed = await fluxop("clean", "--yes", kubeconfig=namespace.kubeconfig)
    assert code == 0, printed
    assert f"run {log.run} is still going: its MiniClusters stay" in printed
    assert await left(namespace) == ["going-1"]
    log.record(RunEnded(exit_code=0))
    log.close()
    code, printed = await fluxop("clean", "--yes", kubeconfig=namespace.kubeconfig)
    assert code == 0, printed
    assert await left(namespace) == []
