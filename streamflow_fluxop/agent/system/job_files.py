"""The files of a job's directory: listed, found to be unchanged, and brought to another job's directory.

It works on JSON values, so that it can be asked for over the stream where only a MiniCluster sees the files. An entry
is `[path, kind, …]`, its path relative to the directory: a file `f` with its mode, `stamp` and checksum (SHA-1 in hex;
null: not known), a directory `d` with its mode, a symbolic link `l` with what it points to. A stamp is size, mtime and
ctime (ns), and inode: nobody can write to a file and leave all of them as they were.

Standard library and Python 3.8 only: this module travels with the agent.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    Entry: TypeAlias = Sequence[Any]

MOST = 20_000
"""Entries that a directory may have."""
_CHUNK = 1 << 20
_ASIDE = ".fluxop-aside"
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of a file with another, until one of them is written to
_NO_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM)
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)


class Unfit(Exception):
    """A directory or its files are not as they have to be; the text says what is."""


def carry_out(request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what a request says: `do` is the name of one of the functions here, its other fields are the arguments.

    Returns:
        `done`: what the function returns; or `unfit`: why it could not.
    """
    arguments = {key: value for key, value in request.items() if key != "do"}
    try:
        return {"done": _OPERATIONS[request["do"]](**arguments)}
    except Unfit as error:
        return {"unfit": str(error)}
    except OSError as error:
        return {"unfit": "{}: {}".format(error.filename or request["do"], error.strerror)}


# looking


def entries(directory: str, checksums_up_to: int = 0) -> list[Entry]:
    """All that lies in a directory, however deep, in order of the paths; what links point to is not looked at.

    Args:
        directory: its path.
        checksums_up_to: bytes of a file up to which its checksum is made.

    Raises:
        Unfit: there is too much, or something that is neither file, directory nor link.
        OSError: it can't be read.
    """
    found: list[Entry] = []
    for path, about in _walk(directory):
        name = os.path.relpath(path, directory)
        if stat.S_ISREG(about.st_mode):
            summed = about.st_size <= checksums_up_to
            mark = stamp(about)
            found.append([name, "f", stat.S_IMODE(about.st_mode), mark, _checksum(path, mark) if summed else None])
        elif stat.S_ISDIR(about.st_mode):
            found.append([name, "d", stat.S_IMODE(about.st_mode)])
        elif stat.S_ISLNK(about.st_mode):
            found.append([name, "l", os.readlink(path)])
        else:
            raise Unfit(f"{path} is neither file, directory nor link")
    return found


def contents(path: str) -> list[Entry]:
    """What identifies the content of a file or directory, links followed, but for the checksums of files.

    Returns:
        A list of `[path in it, whether it is executable, absolute path, stamp]`, or `[path in it]` for a directory.

    Raises:
        Unfit: there is too much in it, links go in a circle, or it has what is neither file nor directory.
        OSError: it can't be read.
    """
    found: list[Entry] = []
    _look(os.path.realpath(path), "", found, ())
    return found


def _look(path: str, name: str, found: list[Entry], above: tuple[str, ...]) -> None:
    about = os.stat(path)
    if len(found) >= MOST:
        raise Unfit(f"there are more than {MOST} files in it")
    if stat.S_ISREG(about.st_mode):
        found.append([name, bool(about.st_mode & 0o100), os.path.realpath(path), stamp(about)])
    elif stat.S_ISDIR(about.st_mode):
        real = os.path.realpath(path)
        if real in above:
            raise Unfit(f"{path} is a link to a directory around it")
        found.append([name])
        for child in sorted(os.listdir(path)):
            _look(os.path.join(path, child), os.path.join(name, child), found, (*above, real))
    else:
        raise Unfit(f"{path} is neither file nor directory")


def checksums(paths: Iterable[str]) -> dict[str, list[Any]]:
    """Of each file that can be read, its stamp and checksum."""
    found = {}
    for path in paths:
        try:
            mark = stamp(os.stat(path))
            found[path] = [mark, _checksum(path, mark)]
        except (OSError, Unfit):
            continue
    return found


def text(path: str, most: int) -> str:
    """What a file holds, which is UTF-8.

    Raises:
        Unfit: that is too much, or something else.
        OSError: it can't be read.
    """
    with open(path, "rb") as file:
        data = file.read(most + 1)
    try:
        found = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unfit(f"{path} is no text") from None
    if len(data) > most:
        raise Unfit(f"{path} has more than {most} bytes")
    return found


def versions(paths: Iterable[str]) -> dict[str, list[int] | None]:
    """What tells one version of a file from another, its stamp, of each path at which one is; null: a directory is."""
    found: dict[str, list[int] | None] = {}
    for path in paths:
        try:
            about = os.stat(path)
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(about.st_mode):
            found[path] = stamp(about)
        elif stat.S_ISDIR(about.st_mode):
            found[path] = None
    return found


def version_of_tree(path: str, most: int = 2000) -> str:
    """What tells one version from another of a directory: a digest of the stamps of all that lies in it.

    Raises:
        Unfit: there is too much in it.
        OSError: it can't be read.
    """
    digest = hashlib.sha256()
    for number, (name, about) in enumerate(_walk(os.path.realpath(path))):
        if number >= most:
            raise Unfit(f"there are more than {most} files in {path}")
        digest.update(repr((name, about.st_mode, [] if stat.S_ISDIR(about.st_mode) else stamp(about))).encode())
    return digest.hexdigest()


def stamp(about: os.stat_result) -> list[int]:
    """What tells one version of a file from another: size, mtime and ctime in ns, inode."""
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _walk(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    left = MOST
    folders = [directory]
    while folders:
        with os.scandir(folders.pop()) as listed:
            here = sorted(listed, key=lambda e: e.name)
        for entry in here:
            left -= 1
            if left < 0:
                raise Unfit(f"there are more than {MOST} files in it")
            about = entry.stat(follow_symlinks=False)
            yield entry.path, about
            if stat.S_ISDIR(about.st_mode):
                folders.append(entry.path)


def _checksum(path: str, mark: list[int]) -> str:
    digest = hashlib.sha1()  # as CWL has it; it tells changes, not forgeries
    with open(path, "rb") as file:
        while True:
            data = file.read(_CHUNK)
            if not data:
                break
            digest.update(data)
        if stamp(os.fstat(file.fileno())) != mark:
            raise Unfit(f"{path} is being written to")
    return digest.hexdigest()


# bringing


def bring(
    source: str,
    target: str,
    listed: Sequence[Entry],
    by: str = "content",
    keep: Sequence[str] = (),
    remove: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    hard_links_from: int | None = None,
) -> dict[str, list[Any]]:
    """Put what another job has left into a directory, if it is all there and unchanged; else put nothing there.

    Files share their blocks with the originals where the file system can do that (FICLONE), else large ones become hard
    links, where that is allowed, and the others are copied.

    Args:
        source: the other job's directory.
        target: where it is to be.
        listed: the entries of `source`, as they were.
        by: `content`, or `size-and-time`: what says that a file is unchanged.
        keep: entries that are there already.
        remove: paths in `target` that the other job has removed.
        links: what symbolic links point to in `target`, where that differs.
        texts: what files have to hold in `target`, where that differs.
        hard_links_from: bytes of a file from which on it may become a hard link; None: none may.

    Returns:
        The stamps that files in `source` have now, where that has changed.

    Raises:
        Unfit: something is missing, or has changed.
        OSError: it can't be read, or not be written.
    """
    kept, links, texts = set(keep), links or {}, texts or {}
    wanted = [entry for entry in listed if entry[0] not in kept]
    checked = {entry[0]: _check(source, entry, by) for entry in listed}
    place = _Placing(target)
    fresh: dict[str, list[Any]] = {}
    try:
        for name in remove:
            place.clear(name)
        for name, kind, *about in sorted(wanted, key=lambda entry: entry[0]):
            if kind == "d":
                place.directory(name)
                continue
            there = place.clear(name)
            if kind == "l":
                os.symlink(links.get(name, about[0]), there)
            elif name in texts:
                with open(there, "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(texts[name])
                os.chmod(there, about[0])
            else:
                origin = os.path.join(source, name)
                _duplicate(origin, there, about, hard_links_from)
                now = stamp(os.stat(origin))
                if now[:2] != checked[name][:2]:
                    raise Unfit(f"{origin} is being written to")
                if now != about[1]:
                    fresh[name] = now
        for name, kind, *about in wanted[::-1]:  # a directory that nobody may write to comes after what is in it
            if kind == "d":
                os.chmod(os.path.join(target, name), about[0])
    except (OSError, Unfit):
        place.undo()
        raise
    place.keep()
    return fresh


class _Placing:
    """Makes room in a directory, and can put back what was there."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._made: list[str] = []
        self._aside: list[str] = []

    def clear(self, name: str) -> str:
        """The absolute path of a name at which nothing is now."""
        there = os.path.join(self._target, name)
        if os.path.lexists(there):
            os.rename(there, there + _ASIDE)
            self._aside.append(there)
        self._made.append(there)
        return there

    def directory(self, name: str) -> None:
        """Make a directory unless it is there."""
        there = os.path.join(self._target, name)
        if os.path.islink(there) or not os.path.isdir(there):
            os.mkdir(self.clear(name))

    def keep(self) -> None:
        """It is done: what was in the way goes."""
        for path in self._aside:
            _remove(path + _ASIDE)

    def undo(self) -> None:
        """Put everything back."""
        for path in reversed(self._made):
            _remove(path)
        for path in reversed(self._aside):
            os.rename(path + _ASIDE, path)


def unchanged(source: str, listed: Sequence[Entry], by: str = "content") -> bool:
    """Whether all that a job has left is there, as it was.

    Raises:
        Unfit: it is not; the text says what is missing or has changed.
        OSError: it can't be read.
    """
    for entry in listed:
        _check(source, entry, by)
    return True


def _check(source: str, entry: Entry, by: str) -> list[int]:
    name, kind, *rest = entry
    path = os.path.join(source, name)
    try:
        about = os.lstat(path)
    except OSError:
        raise Unfit(f"{path} is not there any more") from None
    same = {"f": stat.S_ISREG, "d": stat.S_ISDIR, "l": stat.S_ISLNK}[kind](about.st_mode)
    if same and kind == "l":
        same = os.readlink(path) == rest[0]
    elif same and kind == "f":
        _, mark, checksum = rest
        now = stamp(about)
        if by != "content":
            same = now[:2] == mark[:2]
        elif now != mark:
            same = now[0] == mark[0] and checksum is not None and _checksum(path, now) == checksum
    if not same:
        raise Unfit(f"{path} has changed")
    return stamp(about)


def _duplicate(origin: str, there: str, about: Sequence[Any], hard_links_from: int | None) -> None:
    mode, mark, _ = about
    if mark[0] and _clone(origin, there):
        os.chmod(there, mode)
        return
    if hard_links_from is not None and mark[0] >= hard_links_from:
        try:
            os.link(origin, there)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        else:
            return
    shutil.copyfile(origin, there)
    os.chmod(there, mode)


def _clone(origin: str, there: str) -> bool:
    if os.stat(origin).st_dev in _without_clones:
        return False
    with open(origin, "rb") as source, open(there, "wb") as target:
        try:
            fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS):
                _without_clones.add(os.fstat(source.fileno()).st_dev)
        else:
            return True
    os.unlink(there)
    return False


_without_clones: set[int] = set()
"""Devices whose file systems can't do that."""


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


LIGHT = ("versions", "text")
"""What is done as fast as one can ask for it."""

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "entries": entries,
    "contents": contents,
    "checksums": checksums,
    "text": text,
    "versions": versions,
    "version_of_tree": version_of_tree,
    "bring": bring,
    "unchanged": unchanged,
}
