"""Small commands that change files: ``mkdir``, ``rm``, ``ln``, ``cp``, ``chmod``."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence

from streamflow_fluxop.agent.shell_fastpath.answers import BLOCK, OK, TimeBudget, Unsure, path_of, real_path_of
from streamflow_fluxop.agent.shell_fastpath.shell_lexer import NotSimple, ShellWord
from streamflow_fluxop.agent.wire.protocol import CommandResult

_OCTAL = re.compile(r"0?[0-7]{3}\Z")


def mkdir(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``mkdir [-m MODE] [-p] PATH…``."""
    mode: int | None = None
    parents = False
    words = list(words)
    while words and words[0].text.startswith("-"):
        option = words.pop(0)
        if option.text == "-p":
            parents = True
        elif option.text == "-m" and words and _OCTAL.match(words[0].text):
            mode = int(words.pop(0).text, 8)
        else:
            raise NotSimple
    if not words or (len(words) > 1 and not parents):
        raise NotSimple  # without -p a second try would find what the first has made
    for path in [path_of(word) for word in words]:
        path = path.rstrip(b"/") or b"/"
        if any(part in (b".", b"..") for part in path.split(b"/")):
            raise Unsure  # mkdir -p makes a/b for a/b/..
        if not parents:
            os.mkdir(path)
        elif not _make_parents(path, budget):
            continue
        if mode is not None:
            # numeric modes leave a directory its inherited set-group-ID bit
            os.chmod(path, mode | stat.S_IMODE(os.lstat(path).st_mode) & 0o6000)
    return OK


def made(left: list[ShellWord] | str, right: list[ShellWord] | str, budget: TimeBudget) -> CommandResult | None:
    """Answer ``mkdir [-m MODE] -p PATH… && readlink -f PATH``; None where the line begins with another command."""
    if isinstance(left, str) or isinstance(right, str) or len(left) < 2 or left[0].text != "mkdir":
        return None
    if len(right) != 3 or [word.text for word in right[:2]] != ["readlink", "-f"] or left[-1] != right[2]:
        raise NotSimple
    if all(word.text != "-p" for word in left[1:-1]):
        raise NotSimple  # a second try would find what the first has made
    mkdir(left[1:], budget)
    return real_path_of(path_of(right[2]))


def _make_parents(path: bytes, budget: TimeBudget) -> bool:
    """Make a directory and those above it; whether it was not there before."""
    budget.spend()
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return False
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if not parent or parent == path or _UMASK & 0o300:
            raise
        _make_parents(parent.rstrip(b"/") or b"/", budget)
        return _make_parents(path, budget)
    return True


def _umask() -> int:
    mask = os.umask(0o077)  # before there is a second thread
    os.umask(mask)
    return mask


_UMASK = _umask()


def rm(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``rm -rf PATH…``."""
    if len(words) < 2 or words[0].text != "-rf":
        raise NotSimple
    for path in [path_of(word) for word in words[1:]]:
        if path.endswith(b"/") or path.rpartition(b"/")[2] in (b".", b".."):
            raise Unsure
        _remove(path, budget)
    return OK


def _remove(path: bytes, budget: TimeBudget) -> None:
    budget.spend()
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
        for name in os.listdir(path):
            _remove(os.path.join(path, name), budget)
        os.rmdir(path)


def ln(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``ln -snf TARGET PATH``."""
    if len(words) != 3 or words[0].text != "-snf":
        raise NotSimple
    target, path = path_of(words[1]), path_of(words[2])
    if path.endswith(b"/") or target.endswith(b"/"):
        raise Unsure
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        os.symlink(target, path)
        return OK
    if stat.S_ISDIR(mode):  # not a link to one: that is what -n means
        path = os.path.join(path, os.path.basename(target))
        os.symlink(target, path)  # what is there already is for ln to judge
    elif stat.S_ISLNK(mode) and target != path:
        beside = path + b".%d" % os.getpid()
        os.symlink(target, beside)
        try:
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise
    else:
        raise Unsure
    return OK


def cp(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``/bin/cp -rf FILE PATH`` for a small regular file and a path where nothing is yet."""
    if len(words) != 3 or words[0].text != "-rf":
        raise NotSimple
    source, path = path_of(words[1]), path_of(words[2])
    status = os.lstat(source)
    small = stat.S_ISREG(status.st_mode) and status.st_size <= BLOCK
    sparse = status.st_blocks * 512 < status.st_size
    if not small or sparse or status.st_mode & 0o7000 or path.endswith(b"/"):
        raise Unsure
    if os.path.isdir(path):
        path = os.path.join(path, os.path.basename(source))
    with open(source, "rb") as file:
        data = file.read()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, status.st_mode & 0o777)
    with open(descriptor, "wb") as file:
        file.write(data)
    return OK


def chmod(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``chmod MODE PATH``."""
    if len(words) != 2 or not _OCTAL.match(words[0].text):
        raise NotSimple
    path = path_of(words[1])
    status = os.stat(path)
    keep = stat.S_IMODE(status.st_mode) & 0o6000 if stat.S_ISDIR(status.st_mode) else 0
    os.chmod(path, int(words[0].text, 8) | keep)
    return OK
