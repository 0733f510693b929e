"""A small image, made of this machine's own programs, and engines with a storage of their own."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

IMAGE = "docker.io/fluxop/tools:1"
PROGRAMS = (
    *("sh", "bash", "cat", "cp", "date", "echo", "env", "false", "find", "grep", "head", "id", "ln", "ls", "mkdir"),
    *("mv", "nproc", "ps", "pwd", "readlink", "rm", "sed", "seq", "sha1sum", "sleep", "sort", "stat", "tail", "tar"),
    *("touch", "tr", "true", "wc"),
)
ENGINE = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "none"
[engine]
runtime = "runc"
"""


def root_file_system(folder: Path) -> Path:
    """A directory with a shell and what goes with it, as an image has it; without anything of Debian's kind."""
    root = folder / "root"
    for name in ("tmp", "etc", "proc", "sys", "dev", "bin", "usr/bin", "var/tmp", "run", "home", "image-only"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        path = os.path.realpath(shutil.which(program))
        shutil.copy2(path, root / "bin" / program)
        for library in libraries(path):
            target = root / library.lstrip("/")
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(os.path.realpath(library), target)
    tool = root / "usr/bin/only-in-image"
    tool.write_text('#!/bin/sh\necho in the image: "$@"\n')
    tool.chmod(0o755)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return root


def libraries(program: str) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


def archive(root: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for entry in sorted(root.iterdir()):
            tar.add(entry, entry.name, filter=_of_root)
    return path


def _of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def podman_environment(folder: Path) -> dict[str, str]:
    """What makes podman run where its defaults may not, in a storage of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(ENGINE)
    driver = "overlay" if os.geteuid() == 0 else "vfs"
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "{driver}"\ngraphroot = "{folder}/storage"\nrunroot = "{folder}/run"\n'
    )
    own = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    if os.geteuid() != 0 and "XDG_RUNTIME_DIR" not in os.environ:
        own["XDG_RUNTIME_DIR"] = str(folder)
    return own
