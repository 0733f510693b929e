"""Answers the small commands that StreamFlow issues around every job without a process.

StreamFlow (0.2: `data/remotepath.py`, `deployment/connector/base.py`, `core/utils.py`) sends some twenty command lines
a job to a remote location: ``mkdir``, ``test -e … && readlink -f …``, ``find … | awk …``, ``sha1sum``, globs. A shell
for each costs milliseconds; looking for itself costs the agent microseconds.

The rule is: **exactly what /bin/sh would have given**: output, exit code, and what it leaves on disk. So a line is
answered only where it has one of the known shapes, and where nothing goes wrong: the real shell decides about every
error, and words it in its own locale. That is why every command here may be carried out twice.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence

from streamflow_fluxop.agent.processes import to_text
from streamflow_fluxop.agent.protocol import CommandResult
from streamflow_fluxop.agent.words import NotSimple, Word, simple, split

QUICK = 200
"""System calls, more or less, that the event loop can wait for."""

_BLOCK = 1 << 18
_CAT_MAX = 1 << 22
_OK = CommandResult(b"", 0)
_FALSE = CommandResult(b"", 1)
_SIZE_TAIL = " -type f -exec ls -ln {} \\+ | awk 'BEGIN {sum=0} {sum+=$5} END {print sum}';"
_GLOB_TAIL = """ ; test -e "$1" && printf '%s\\n' "$@" ; :"""
_CHECKSUM_TAIL = " | awk '{print $1}'"
_OCTAL = re.compile(r"0?[0-7]{3}\Z")
_SUM_MAX = 2**31 - 1  # beyond that an awk may print 2.14748e+09
_FTS_SORTS = 10000  # entries above which GNU find reads a directory in the order of inodes

# Shell functions from the environment, and what changes the columns of ls and the rules of GNU tools.
_ODD = ("BASH_FUNC_", "BLOCK_SIZE", "BLOCKSIZE", "LS_BLOCK_SIZE", "QUOTING_STYLE", "TIME_STYLE", "POSIXLY_CORRECT")
_ODD_ENVIRONMENT = any(name.startswith(_ODD) for name in os.environ)


class Heavy(Exception):
    """The answer takes longer than the event loop can wait: ask again in a thread, without a budget."""


class Unsure(Exception):
    """A real shell should decide."""


class _Budget:
    def __init__(self, calls: int | None) -> None:
        self._left = calls

    def spend(self, calls: int = 1) -> None:
        if self._left is not None:
            self._left -= calls
            if self._left < 0:
                raise Heavy


def answer(command: str, budget: int | None = None) -> CommandResult | None:
    """What ``/bin/sh -c command`` gives; None where a real shell has to say.

    Relative paths count from this process's directory. What the command does to files is done, in whole or, where None
    is returned, perhaps in part; it can then be done again.

    Args:
        command: a command line, bytes that are no UTF-8 as ``os.fsdecode`` escapes them.
        budget: system calls that may be spent; None: no limit.

    Raises:
        Heavy: the budget is not enough.
    """
    if _ODD_ENVIRONMENT:
        return None
    try:
        return _answer(command, _Budget(budget))
    except (NotSimple, Unsure, OSError, RecursionError):
        return None


def _answer(command: str, budget: _Budget) -> CommandResult:
    line = command.strip(" ")
    if line.endswith(_SIZE_TAIL):
        words = simple(line[: -len(_SIZE_TAIL)])
        if [word.text for word in words[:2]] != ["find", "-L"]:
            raise NotSimple
        return _sizes(words[2:], budget)
    if line.endswith(_GLOB_TAIL):
        words = simple(line[: -len(_GLOB_TAIL)])
        if len(words) != 3 or [word.text for word in words[:2]] != ["set", "--"]:
            raise NotSimple
        return _glob(words[2], budget)
    if line.endswith(_CHECKSUM_TAIL):
        return _checksum(split(line[: -len(_CHECKSUM_TAIL)]), budget)
    parts = split(line)
    if len(parts) == 3 and parts[1] == "&&":
        return _real_path(parts[0], parts[2])
    if len(parts) != 1:
        raise NotSimple
    words = list(parts[0])  # type: ignore[arg-type]
    program = _PROGRAMS.get(words[0].text) if words and not words[0].quoted else None
    if program is None:
        raise NotSimple
    return program(words[1:], budget)


def _path(word: Word) -> bytes:
    """An operand that no program takes for an option or part of an expression."""
    path = word.literal
    if path[:1] in (b"", b"-", b"(", b")", b"!", b",", b"="):
        raise Unsure
    return path


def _one_path(words: Sequence[Word]) -> bytes:
    if len(words) != 1:
        raise NotSimple
    return _path(words[0])


# ---------------------------------------------------------------------------------------------------------- questions


def _test(words: Sequence[Word], budget: _Budget) -> CommandResult:
    if len(words) != 2 or words[0].quoted:
        raise NotSimple
    check = _TESTS.get(words[0].text)
    if check is None:
        raise NotSimple
    return _OK if check(_path(words[1])) else _FALSE


_TESTS: dict[str, Callable[[bytes], bool]] = {
    "-e": os.path.exists,
    "-f": os.path.isfile,
    "-d": os.path.isdir,
    "-L": os.path.islink,
    "-h": os.path.islink,
    "-x": lambda path: os.access(path, os.X_OK, effective_ids=True),
    "-r": lambda path: os.access(path, os.R_OK, effective_ids=True),
    "-w": lambda path: os.access(path, os.W_OK, effective_ids=True),
}


def _real_path(left: list[Word] | str, right: list[Word] | str) -> CommandResult:
    """Answer ``test -e PATH && readlink -f PATH``."""
    if isinstance(left, str) or isinstance(right, str) or len(left) != 3 or len(right) != 3:
        raise NotSimple
    if [word.text for word in (*left[:2], *right[:2])] != ["test", "-e", "readlink", "-f"]:
        raise NotSimple
    path = _path(left[2])
    if path != _path(right[2]):
        raise NotSimple
    if not os.path.exists(path):
        return _FALSE
    real = os.path.realpath(path)
    if not os.path.lexists(real):
        raise Unsure  # it changed under our eyes
    # POSIX lets two leading slashes mean something else, and Python keeps them; Linux and readlink do not.
    return CommandResult(b"/" + real.lstrip(b"/") + b"\n", 0)


def _checksum(parts: list[list[Word] | str], budget: _Budget) -> CommandResult:
    """Answer ``test -f PATH && sha1sum PATH | awk '{print $1}'``."""
    if len(parts) != 3 or parts[1] != "&&":
        raise NotSimple
    left, right = parts[0], parts[2]
    if isinstance(left, str) or isinstance(right, str) or len(left) != 3 or len(right) != 2:
        raise NotSimple
    if [left[0].text, left[1].text, right[0].text] != ["test", "-f", "sha1sum"]:
        raise NotSimple
    path = _path(left[2])
    if path != _path(right[1]):
        raise NotSimple
    if not os.path.isfile(path):
        return _FALSE
    if any(byte in path for byte in b"\\\n\r"):
        raise Unsure  # sha1sum marks lines whose names it had to escape
    digest = hashlib.sha1(usedforsecurity=False) if _HAS_USED_FOR_SECURITY else hashlib.sha1()
    with open(path, "rb", buffering=0) as file:
        while True:
            budget.spend(10)
            block = file.read(_BLOCK)
            if not block:
                break
            digest.update(block)
    return CommandResult(digest.hexdigest().encode() + b"\n", 0)


try:
    hashlib.sha1(usedforsecurity=False)
    _HAS_USED_FOR_SECURITY = True
except TypeError:  # Python 3.8
    _HAS_USED_FOR_SECURITY = False


def _sizes(words: Sequence[Word], budget: _Budget) -> CommandResult:
    r"""Answer ``find -L PATH… -type f -exec ls -ln {} \+ | awk '…sum of column 5…';``.

    `ls` does not follow what `find -L` follows: a link to a file counts with the length of its own text.
    """
    if not words:
        raise NotSimple
    total = 0
    for word in words:
        for path in _files_below(_path(word), [], budget):
            if b"\n" in path or not path.isascii():
                raise Unsure  # a second line, or what awk takes for no text, would be counted
            total += os.lstat(path).st_size
    if total > _SUM_MAX:
        raise Unsure
    return CommandResult(b"%d\n" % total, 0)


def _files_below(path: bytes, above: list[tuple[int, int]], budget: _Budget) -> Iterator[bytes]:
    """Regular files as ``find -L path -type f`` finds them."""
    budget.spend()
    try:
        status = os.stat(path)
    except FileNotFoundError:
        os.lstat(path)  # a link to nowhere is silently no file; what is not there is an error
        return
    if stat.S_ISREG(status.st_mode):
        yield path
    elif stat.S_ISDIR(status.st_mode):
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise Unsure  # a loop: find says so
        prefix = path if path.endswith(b"/") else path + b"/"
        for name in os.listdir(path):
            yield from _files_below(prefix + name, [*above, identity], budget)


def _find(words: Sequence[Word], budget: _Budget) -> CommandResult:
    """Answer ``find [-L] PATH -mindepth 1 -maxdepth 1 -type d|f``, in the directory's own order."""
    texts = [word.text for word in words]
    follow = texts[:1] == ["-L"]
    if follow:
        words, texts = words[1:], texts[1:]
    if len(texts) != 7 or texts[1:6] != ["-mindepth", "1", "-maxdepth", "1", "-type"] or texts[6] not in ("d", "f"):
        raise NotSimple
    path = _path(words[0])
    status = (os.stat if follow or path.endswith(b"/") else os.lstat)(path)
    if not stat.S_ISDIR(status.st_mode):
        return _OK
    prefix = path if path.endswith(b"/") else path + b"/"
    found = []
    with os.scandir(path) as entries:
        for count, entry in enumerate(entries):
            budget.spend()
            if count >= _FTS_SORTS:
                raise Unsure
            if follow and entry.is_symlink():
                try:
                    target = entry.stat()
                except FileNotFoundError:
                    continue
                if (target.st_dev, target.st_ino) == (status.st_dev, status.st_ino):
                    raise Unsure  # a loop: find says so
            is_it = entry.is_dir(follow_symlinks=follow) if texts[6] == "d" else entry.is_file(follow_symlinks=follow)
            if is_it:
                found.append(prefix + entry.name + b"\n")
    return CommandResult(b"".join(found), 0)


def _glob(word: Word, budget: _Budget) -> CommandResult:
    r"""Answer ``set -- PATTERN ; test -e "$1" && printf '%s\n' "$@" ; :``."""
    if not word.wild:
        path = _path(word)
        return CommandResult(path + b"\n", 0) if os.path.exists(path) else _OK
    cut = word.text.rfind("/", 0, word.wild[0]) + 1
    folder = _path(Word(word.text[:cut]))
    names = _matching(folder, word, cut, budget)
    # Without a match the pattern stays as it is; a file of that very name would have matched.
    if not names or not os.path.exists(folder + names[0]):
        return _OK
    return CommandResult(b"".join(folder + name + b"\n" for name in names), 0)


def _matching(folder: bytes, word: Word, start: int, budget: _Budget) -> list[bytes]:
    """The names in `folder` that the shell gives for the pattern, in its order."""
    if word.text[start] == "." or "/" in word.text[start:]:
        raise Unsure  # `.*` is `.` and `..` too for some shells; patterns in the middle of a path are rare
    wild = set(word.wild)
    expression = "".join(
        (".*" if char == "*" else ".") if index in wild else re.escape(char)
        for index, char in enumerate(word.text[start:], start)
    )
    matches = re.compile(expression, re.DOTALL).fullmatch
    single = any(word.text[index] == "?" for index in wild)
    names = []
    try:
        entries = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    budget.spend(len(entries) // 10)
    for entry in entries:
        name = to_text(entry)
        if not name.isascii() and (single or not name.isprintable()):
            raise Unsure  # what one character is depends on shell and locale
        if not name.startswith(".") and matches(name):
            names.append(entry)
    if len(names) > 1 and not _BYTE_ORDER:
        raise Unsure
    return sorted(names)


def _sorts_by_bytes() -> bool:
    """Whether /bin/sh sorts names by their bytes; bash does it by the locale's order."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_COLLATE") or os.environ.get("LANG") or "C"
    return locale in ("C", "POSIX", "C.UTF-8", "C.utf8") or os.path.basename(os.path.realpath("/bin/sh")) in (
        "dash",
        "busybox",
    )


_BYTE_ORDER = _sorts_by_bytes()


def _cat(words: Sequence[Word], budget: _Budget) -> CommandResult:
    return _head_of(_one_path(words), _CAT_MAX + 1, budget)


def _head(words: Sequence[Word], budget: _Budget) -> CommandResult:
    if len(words) != 3 or words[0].text != "-c" or not _COUNT.match(words[1].text):
        raise NotSimple
    return _head_of(_path(words[2]), int(words[1].text), budget)


_COUNT = re.compile(r"[0-9]{1,9}\Z", re.ASCII)


def _head_of(path: bytes, count: int, budget: _Budget) -> CommandResult:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would wait for its writer
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or min(status.st_size, count) > _CAT_MAX:
            raise Unsure
        budget.spend(min(status.st_size, count) // (1 << 14))
        return CommandResult(file.read(count), 0)


# ------------------------------------------------------------------------------------------------------------ changes


def _mkdir(words: Sequence[Word], budget: _Budget) -> CommandResult:
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
    for path in [_path(word) for word in words]:
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
    return _OK


def _make_parents(path: bytes, budget: _Budget) -> bool:
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


def _rm(words: Sequence[Word], budget: _Budget) -> CommandResult:
    """Answer ``rm -rf PATH…``."""
    if len(words) < 2 or words[0].text != "-rf":
        raise NotSimple
    for path in [_path(word) for word in words[1:]]:
        if path.endswith(b"/") or path.rpartition(b"/")[2] in (b".", b".."):
            raise Unsure
        _remove(path, budget)
    return _OK


def _remove(path: bytes, budget: _Budget) -> None:
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


def _ln(words: Sequence[Word], budget: _Budget) -> CommandResult:
    """Answer ``ln -snf TARGET PATH``."""
    if len(words) != 3 or words[0].text != "-snf":
        raise NotSimple
    target, path = _path(words[1]), _path(words[2])
    if path.endswith(b"/") or target.endswith(b"/"):
        raise Unsure
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        os.symlink(target, path)
        return _OK
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
    return _OK


def _cp(words: Sequence[Word], budget: _Budget) -> CommandResult:
    """Answer ``/bin/cp -rf FILE PATH`` for a small regular file and a path where nothing is yet."""
    if len(words) != 3 or words[0].text != "-rf":
        raise NotSimple
    source, path = _path(words[1]), _path(words[2])
    status = os.lstat(source)
    small = stat.S_ISREG(status.st_mode) and status.st_size <= _BLOCK
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
    return _OK


def _chmod(words: Sequence[Word], budget: _Budget) -> CommandResult:
    """Answer ``chmod MODE PATH``."""
    if len(words) != 2 or not _OCTAL.match(words[0].text):
        raise NotSimple
    path = _path(words[1])
    status = os.stat(path)
    keep = stat.S_IMODE(status.st_mode) & 0o6000 if stat.S_ISDIR(status.st_mode) else 0
    os.chmod(path, int(words[0].text, 8) | keep)
    return _OK


_PROGRAMS: dict[str, Callable[[Sequence[Word], _Budget], CommandResult]] = {
    "test": _test,
    "mkdir": _mkdir,
    "rm": _rm,
    "ln": _ln,
    "/bin/cp": _cp,
    "chmod": _chmod,
    "cat": _cat,
    "head": _head,
    "find": _find,
}
