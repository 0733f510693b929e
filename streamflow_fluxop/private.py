"""Folders that are the user's alone, on machines that others use, too."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from functools import lru_cache

from streamflow_fluxop.errors import UserError

PRIVATE = 0o700


@lru_cache
def work_folder(parent: str | None = None) -> str:
    """Where jobs work if nobody says where: a folder of this user's, for the user alone.

    Somebody else may have made one of that name: then it is another one.

    Args:
        parent: where it is; None: in the temporary directory.

    Raises:
        UserError: none can be made.
    """
    parent = os.path.realpath(tempfile.gettempdir() if parent is None else parent)
    folder = os.path.join(parent, f"streamflow-{os.getuid()}")
    try:
        return folder if is_private(folder) else tempfile.mkdtemp(prefix=f"streamflow-{os.getuid()}-", dir=parent)
    except OSError as error:
        raise UserError(
            f"no work directory can be made in {parent}: {error.strerror}",
            fix="Name another with TMPDIR, or with the deployment's `workdir`.",
        ) from None


def is_private(folder: str) -> bool:
    """Whether a folder is there, or can be made, that is ours alone; links to folders are none.

    Raises:
        OSError: it can't be made.
    """
    with suppress(FileExistsError):
        os.mkdir(folder, PRIVATE)
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
        return False
    if about.st_mode & 0o077:  # ours, and made by somebody who did not care
        os.chmod(folder, PRIVATE)
    return True
