"""Small commands that look: ``test``, ``readlink``, ``sha1sum``, sizes, ``find``, globs, ``cat``, ``head``."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence

from streamflow_fluxop.agent.shell_fastpath.answers import (
    BLOCK,
    FALSE,
    OK,
    TimeBudget,
    Unsure,
    one_path,
    path_of,
    real_path_of,
)
from streamflow_fluxop.agent.shell_fastpath.shell_lexer import NotSimple, ShellWord
from streamflow_fluxop.agent.system.processes import to_text
from streamflow_fluxop.agent.wire.protocol import CommandResult

_CAT_MAX = 1 << 22
_SUM_MAX = 2**31 - 1  # beyond that an awk may print 2.14748e+09
_FTS_SORTS = 10000  # entries above which GNU find reads a directory in the order of inodes


def test(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``test -e PATH`` and its like."""
    if len(words) != 2 or words[0].quoted:
        raise NotSimple
    check = _TESTS.get(words[0].text)
    if check is None:
        raise NotSimple
    return OK if check(path_of(words[1])) else FALSE


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


def real_path(left: list[ShellWord] | str, right: list[ShellWord] | str) -> CommandResult:
    """Answer ``test -e PATH && readlink -f PATH``."""
    if isinstance(left, str) or isinstance(right, str) or len(left) != 3 or len(right) != 3:
        raise NotSimple
    if [word.text for word in (*left[:2], *right[:2])] != ["test", "-e", "readlink", "-f"]:
        raise NotSimple
    path = path_of(left[2])
    if path != path_of(right[2]):
        raise NotSimple
    return real_path_of(path) if os.path.exists(path) else FALSE


def checksum(parts: list[list[ShellWord] | str], budget: TimeBudget) -> CommandResult:
    """Answer ``test -f PATH && sha1sum PATH | awk '{print $1}'``."""
    if len(parts) != 3 or parts[1] != "&&":
        raise NotSimple
    left, right = parts[0], parts[2]
    if isinstance(left, str) or isinstance(right, str) or len(left) != 3 or len(right) != 2:
        raise NotSimple
    if [left[0].text, left[1].text, right[0].text] != ["test", "-f", "sha1sum"]:
        raise NotSimple
    path = path_of(left[2])
    if path != path_of(right[1]):
        raise NotSimple
    if not os.path.isfile(path):
        return FALSE
    if any(byte in path for byte in b"\\\n\r"):
        raise Unsure  # sha1sum marks lines whose names it had to escape
    digest = hashlib.sha1(usedforsecurity=False) if _HAS_USED_FOR_SECURITY else hashlib.sha1()
    with open(path, "rb", buffering=0) as file:
        while True:
            budget.spend(10)
            block = file.read(BLOCK)
            if not block:
                break
            digest.update(block)
    return CommandResult(digest.hexdigest().encode() + b"\n", 0)


try:
    hashlib.sha1(usedforsecurity=False)
    _HAS_USED_FOR_SECURITY = True
except TypeError:  # Python 3.8
    _HAS_USED_FOR_SECURITY = False


def sizes(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    r"""Answer ``find -L PATH… -type f -exec ls -ln {} \+ | awk '…sum of column 5…';``.

    `ls` does not follow what `find -L` follows: a link to a file counts with the length of its own text.
    """
    if not words:
        raise NotSimple
    total = 0
    for word in words:
        for path in _files_below(path_of(word), [], budget):
            if b"\n" in path or not path.isascii():
                raise Unsure  # a second line, or what awk takes for no text, would be counted
            total += os.lstat(path).st_size
    if total > _SUM_MAX:
        raise Unsure
    return CommandResult(b"%d\n" % total, 0)


def _files_below(path: bytes, above: list[tuple[int, int]], budget: TimeBudget) -> Iterator[bytes]:
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


def find(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``find [-L] PATH -mindepth 1 -maxdepth 1 -type d|f``, in the directory's own order."""
    texts = [word.text for word in words]
    follow = texts[:1] == ["-L"]
    if follow:
        words, texts = words[1:], texts[1:]
    if len(texts) != 7 or texts[1:6] != ["-mindepth", "1", "-maxdepth", "1", "-type"] or texts[6] not in ("d", "f"):
        raise NotSimple
    path = path_of(words[0])
    status = (os.stat if follow or path.endswith(b"/") else os.lstat)(path)
    if not stat.S_ISDIR(status.st_mode):
        return OK
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


def glob(word: ShellWord, budget: TimeBudget) -> CommandResult:
    r"""Answer ``set -- PATTERN ; test -e "$1" && printf '%s\n' "$@" ; :``."""
    if not word.wild:
        path = path_of(word)
        return CommandResult(path + b"\n", 0) if os.path.exists(path) else OK
    cut = word.text.rfind("/", 0, word.wild[0]) + 1
    folder = path_of(ShellWord(word.text[:cut]))
    names = _matching(folder, word, cut, budget)
    # Without a match the pattern stays as it is; a file of that very name would have matched.
    if not names or not os.path.exists(folder + names[0]):
        return OK
    return CommandResult(b"".join(folder + name + b"\n" for name in names), 0)


def _matching(folder: bytes, word: ShellWord, start: int, budget: TimeBudget) -> list[bytes]:
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


def cat(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``cat PATH``."""
    return _head_of(one_path(words), _CAT_MAX + 1, budget)


def head(words: Sequence[ShellWord], budget: TimeBudget) -> CommandResult:
    """Answer ``head -c COUNT PATH``."""
    if len(words) != 3 or words[0].text != "-c" or not _COUNT.match(words[1].text):
        raise NotSimple
    return _head_of(path_of(words[2]), int(words[1].text), budget)


_COUNT = re.compile(r"[0-9]{1,9}\Z", re.ASCII)


def _head_of(path: bytes, count: int, budget: TimeBudget) -> CommandResult:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO would wait for its writer
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or min(status.st_size, count) > _CAT_MAX:
            raise Unsure
        budget.spend(min(status.st_size, count) // (1 << 14))
        return CommandResult(file.read(count), 0)
