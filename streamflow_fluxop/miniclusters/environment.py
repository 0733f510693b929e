"""What jobs on this machine see of the environment of the program that controls them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

PRESERVED = (
    # who, where, in which words
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*"),
    # what programs on the PATH need to be found and to start
    *("LD_LIBRARY_PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "VIRTUAL_ENV"),
    *("MODULEPATH", "MODULEPATH_ROOT", "MODULESHOME", "MODULES_CMD", "LMOD_CMD", "LMOD_PKG", "LMOD_ROOT", "LMOD_DIR"),
    "FLUX_*",
)
"""Names, or patterns of them. CWL says HOME, TMPDIR and PATH (CommandLineTool, Runtime environment), as cwltool."""


def job_environment(preserve: Sequence[str] = (), ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which jobs start; their own variables (EnvVarRequirement) come on top.

    Args:
        preserve: more names or patterns (`OMP_*`); `*` is everything.
        ours: the environment that it is taken from; None: this process's.
    """
    patterns = (*PRESERVED, *preserve)
    found = os.environ if ours is None else ours
    return {name: value for name, value in found.items() if any(fnmatchcase(name, p) for p in patterns)}
