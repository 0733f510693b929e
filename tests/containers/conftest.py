import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from container_images import IMAGE, archive, podman_environment, root_file_system


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    return root_file_system(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="session")
def image_archive(image_folder):
    return archive(image_folder, image_folder.parent / "tools.tar")


@pytest.fixture(scope="session")
def podman_storage(tmp_path_factory, image_archive):
    """podman's environment, with the image in its storage."""
    if shutil.which("podman") is None:
        pytest.skip("there is no podman")
    # one storage for all workers, kept for the next time: several share podman's locks, and wait for each other
    folder = Path(tempfile.gettempdir(), f"fluxop-test-podman-{os.geteuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f"{folder} is somebody else's"
    own = podman_environment(folder)
    environment = {**os.environ, **own}
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = subprocess.run(["podman", "image", "exists", IMAGE], env=environment, check=False).returncode == 0
        made = there or works(["podman", "import", "--quiet", image_archive, IMAGE], environment)
    if not (made and works(["podman", "run", "--rm", IMAGE, "true"], environment)):
        pytest.skip("podman runs nothing here")
    return own


def works(command, environment):
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


@pytest.fixture
def podman(podman_storage, monkeypatch):
    for name, value in podman_storage.items():
        monkeypatch.setenv(name, value)
    return podman_storage


@pytest.fixture(scope="session")
def unpacked_storage(tmp_path_factory, image_folder):
    """Where charliecloud's images are, with the image in it."""
    if shutil.which("ch-run") is None:
        pytest.skip("there is no charliecloud")
    folder = tmp_path_factory.mktemp("charliecloud")
    shutil.copytree(image_folder, folder / "docker.io_fluxop_tools_1", symlinks=True)
    return folder


@pytest.fixture
def charliecloud(unpacked_storage, monkeypatch):
    monkeypatch.setenv("USER", os.environ.get("USER") or "root")
    return unpacked_storage
