"""Jobs on a host that others use work in a folder of ours alone, whoever took its name first."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ssh_worlds import Sshd, needs_sshd, sshd  # noqa: F401 - fixtures

from streamflow_fluxop.miniclusters.base import ClusterError
from streamflow_fluxop.miniclusters.ssh.minicluster import SSHCluster
from streamflow_fluxop.miniclusters.ssh.work_folder import NoFolder, own_folder

# ruff: noqa: F811 - tests may look at files; fixtures come from another module
UID = os.getuid()
SOMEBODY = 61777
needs_others = pytest.mark.skipif(
    UID != 0 or shutil.which("setpriv") is None, reason="only root can be somebody else, with setpriv(1)"
)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /tmp is: everybody may make names in it, and remove their own ones only."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)


def somebody(*command: str) -> None:
    subprocess.run(
        ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", *command], check=True, cwd="/"
    )


def is_ours_alone(folder: str) -> bool:
    about = os.lstat(folder)
    return stat.S_ISDIR(about.st_mode) and about.st_uid == UID and stat.S_IMODE(about.st_mode) == 0o700


async def here(script: str, *arguments: str, timeout: float | None = None) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, "sh", *arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode().strip()


@needs_sshd
async def test_each_user_has_a_folder_there_and_keeps_it(sshd: Sshd, shared: Path) -> None:
    cluster = SSHCluster(sshd.config(), "embedded")
    folder = await own_folder(cluster.run, str(shared))
    assert folder == f"{shared}/streamflow-{UID}"
    assert is_ours_alone(folder)
    os.chmod(folder, 0o777)
    assert await own_folder(cluster.run, str(shared)) == folder
    assert is_ours_alone(folder)
    await cluster.close()


@needs_sshd
@needs_others
@pytest.mark.parametrize(
    "taken", ["a directory", "a directory for all", "a file", "a link", "a link to ours", "a pipe"]
)
async def test_who_takes_its_name_first_neither_stops_us_nor_gets_in(sshd: Sshd, shared: Path, taken: str) -> None:
    name = f"{shared}/streamflow-{UID}"
    ours = shared / "ours"
    ours.mkdir()
    match taken:
        case "a directory":
            somebody("mkdir", name)
        case "a directory for all":
            somebody("mkdir", "-m", "777", name)
        case "a file":
            somebody("touch", name)
        case "a link":
            somebody("ln", "-s", "/nowhere", name)
        case "a link to ours":
            somebody("ln", "-s", str(ours), name)
        case _:
            somebody("mkfifo", name)
    cluster = SSHCluster(sshd.config(), "embedded")
    folder = await own_folder(cluster.run, str(shared))
    await cluster.close()
    assert folder.startswith(f"{name}-")
    assert is_ours_alone(folder)
    assert list(ours.iterdir()) == []
    with pytest.raises(subprocess.CalledProcessError):
        somebody("ls", folder)
    with pytest.raises(subprocess.CalledProcessError):
        somebody("rmdir", folder)


async def test_where_other_nodes_have_to_see_it_it_is_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = await own_folder(here, "")
    assert folder == f"{tmp_path}/.streamflow-work"
    assert is_ours_alone(folder)


@pytest.mark.parametrize(
    "said", ["/etc", "/root/.ssh", "", "streamflow-0", "/elsewhere/streamflow-0", "/tmp/streamflow-0/.."]
)
async def test_a_host_that_says_anything_else_is_not_believed(said: str) -> None:
    async def run(script: str, *arguments: str, timeout: float | None = None) -> tuple[int, str]:
        return 0, said

    with pytest.raises(NoFolder):
        await own_folder(run, "/tmp")


async def test_a_host_that_cannot_be_asked_is_said(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    values = {"host": "127.0.0.1", "port": 1, "user": "me", "known_hosts": str(tmp_path / "known_hosts")}
    from streamflow_fluxop.config.ssh import SSHConfig

    with pytest.raises(ClusterError, match=r"127\.0\.0\.1 port 1: "):
        await SSHCluster(SSHConfig.model_validate(values), "embedded").work_folder()
