"""The agent's own answers are the shell's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamflow_fluxop.agent.shell_fastpath import answering
from streamflow_fluxop.agent.system.processes import to_bytes, to_text

SIZE = "find -L {} -type f -exec ls -ln {{}} \\+ | awk 'BEGIN {{sum=0}} {{sum+=$5}} END {{print sum}}'; "


def run_shell(command: str, cwd: str) -> tuple[bytes, int, bytes]:
    done = subprocess.run(["/bin/sh", "-c", to_bytes(command)], cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL)
    return done.stdout, done.returncode, done.stderr


def snapshot(folder: str) -> dict[bytes, tuple[object, ...]]:
    """Everything below a folder: kind, mode, and content or target."""
    found: dict[bytes, tuple[object, ...]] = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in folders + files:
            path = os.path.join(root, name)
            status = os.lstat(path)
            content: object = None
            if os.path.islink(path):
                content = os.readlink(path).replace(os.fsencode(folder), b"FOLDER")
            elif os.path.isfile(path):
                content = Path(to_text(path)).read_bytes() if os.access(path, os.R_OK) else "unreadable"
            found[os.path.relpath(path, os.fsencode(folder))] = (status.st_mode, content)
    return found


@contextmanager
def inside(folder: str) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


EXAMPLES = max(200, settings.default.max_examples)  # more in a deeper profile

# A world: names that hurt, and trees of files, folders and links made with them.

ASCII = "aB0 .-_'\"\\$`*?[]!#&;|<>(){}~=,:%@+\t\n"
characters = st.one_of(st.sampled_from(ASCII), st.sampled_from("éß漢😀\udc80\udcff\xa0"))
names = st.text(characters, min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
plain_names = st.text("ab.1", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
any_names = st.one_of(plain_names, names)
entries = st.tuples(
    st.lists(st.sampled_from(["a", "b", "d e", "ü"]), max_size=2),
    any_names,
    st.sampled_from(["file", "empty", "folder", "link", "self", "up", "missing"]),
)


Tree = list[tuple[list[str], str, str]]


class World:
    """A folder with a tree in it, and the paths of what is there."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._home = tempfile.mkdtemp(prefix="fluxop-shell-")
        self.folder = os.path.join(self._home, "w")
        self.build()

    def build(self) -> None:
        """Make the tree as it was in the beginning."""
        self.close()
        os.makedirs(self.folder)
        self.paths = [self.folder]
        for index, (above, name, kind) in enumerate(self._tree):
            parent = os.path.join(self.folder, *above)
            path = os.path.join(parent, name)
            try:
                os.makedirs(parent, exist_ok=True)
                if kind in ("file", "empty"):
                    with open(os.fsencode(path), "xb") as file:
                        file.write(b"x" * (index * 37 + 1) if kind == "file" else b"")
                elif kind == "folder":
                    os.mkdir(path)
                else:
                    target = {"link": self.paths[-1], "self": path, "up": self.folder, "missing": "nowhere"}[kind]
                    os.symlink(target, path)
            except OSError:  # an earlier entry is in its way
                continue
            self.paths.append(path)

    def close(self) -> None:
        if os.path.lexists(self._home):
            subprocess.run(["/bin/rm", "-rf", self._home], check=True)


def compare(world: World, command: str) -> bool:
    """Have the shell and then the agent do `command` in equal worlds; whether the agent did it by itself."""
    expected = run_shell(command, world.folder)
    after_shell = snapshot(world.folder)
    world.build()
    with inside(world.folder):
        result = answering.answer(command)
    if result is None:
        return False
    assert (result.output, result.exit_code, result.errors) == expected
    assert snapshot(world.folder) == after_shell
    return True


def quoted(path: str) -> str:
    return shlex.quote(path)


COMMANDS = {
    "exists": lambda p, q: f"test -e {quoted(p)}",
    "file": lambda p, q: f"test -f {quoted(p)}",
    "folder": lambda p, q: f"test -d {quoted(p)}",
    "folder in double quotes": lambda p, q: f'test -d "{p}"',
    "link": lambda p, q: f"test -L {quoted(p)}",
    "executable": lambda p, q: f"test -x {quoted(p)}",
    "real path": lambda p, q: f"test -e {quoted(p)} && readlink -f {quoted(p)}",
    "checksum": lambda p, q: f"test -f {quoted(p)} && sha1sum {quoted(p)} | awk '{{print $1}}'",
    "size": lambda p, q: SIZE.format(f'"{p}"'),
    "sizes": lambda p, q: SIZE.format(f'"{p}" "{q}"'),
    "folders in": lambda p, q: f"find {quoted(p)} -mindepth 1 -maxdepth 1 -type d",
    "files in": lambda p, q: f"find {quoted(p)} -mindepth 1 -maxdepth 1 -type f",
    "files in, followed": lambda p, q: f"find -L {quoted(p)} -mindepth 1 -maxdepth 1 -type f",
    "cat": lambda p, q: f"cat {quoted(p)}",
    "cat, unquoted": lambda p, q: f"cat {p}",
    "head": lambda p, q: f"head -c 10 {quoted(p)}",
    "mkdir": lambda p, q: f"mkdir -m 777 {quoted(q)}",
    "mkdir with parents": lambda p, q: f"mkdir -m 755 -p {quoted(q)}",
    "mkdir with parents, unquoted": lambda p, q: f"mkdir -p {q}",
    "mkdir and real path": lambda p, q: f"mkdir -m 777 -p {quoted(q)} && readlink -f {quoted(q)}",
    "mkdir without parents and real path": lambda p, q: f"mkdir {quoted(q)} && readlink -f {quoted(q)}",
    "two mkdirs": lambda p, q: f"mkdir -p {quoted(p)} {quoted(q)}",
    "remove": lambda p, q: f"rm -rf {quoted(p)}",
    "remove, unquoted": lambda p, q: f"rm -rf {p}",
    "link to": lambda p, q: f"ln -snf {quoted(p)} {quoted(q)}",
    "copy": lambda p, q: f"/bin/cp -rf {quoted(p)} {quoted(q)}",
    "chmod": lambda p, q: f"chmod 640 {quoted(p)}",
}


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), tree=st.lists(entries, max_size=8), kind=st.sampled_from(sorted(COMMANDS)))
def test_an_answer_is_what_the_shell_says_and_does(data: st.DataObject, tree: Tree, kind: str) -> None:
    with closing(World(tree)) as world:
        path = data.draw(st.sampled_from(world.paths))
        below = st.builds(os.path.join, st.sampled_from(world.paths), any_names)
        other = data.draw(st.one_of(st.sampled_from(world.paths), below))
        if data.draw(st.integers(0, 5)) == 0:
            path = data.draw(below)
        if data.draw(st.booleans()):  # what StreamFlow sends is absolute, but that is no reason to be wrong
            path, other = os.path.relpath(path, world.folder), os.path.relpath(other, world.folder)
        compare(world, COMMANDS[kind](path, other))


PATTERNS = ["*", "*.b", "a*", "?", "?*", "a", "*/a", "[ab]*", ".*", "a/*", "b/*.1", "*é*", "d*"]
GLOB = """set -- {} ; test -e "$1" && printf '%s\\n' "$@" ; :"""


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(data=st.data(), tree=st.lists(entries, max_size=8), pattern=st.sampled_from(PATTERNS))
def test_a_glob_gives_the_shells_matches_in_its_order(data: st.DataObject, tree: Tree, pattern: str) -> None:
    with closing(World(tree)) as world:
        compare(world, GLOB.format(quoted(data.draw(st.sampled_from(world.paths))) + "/" + pattern))


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(words=st.lists(st.one_of(any_names.map(quoted), any_names, st.sampled_from(["-p", "&&", ";", "'"])), max_size=4))
def test_a_line_is_split_as_the_shell_splits_it_or_not_at_all(words: list[str]) -> None:
    line = " ".join(["test", "-e", *words])
    with tempfile.TemporaryDirectory() as folder, inside(folder):
        expected = run_shell(line, folder)
        result = answering.answer(line)
        if result is not None:
            assert (result.output, result.exit_code, result.errors) == expected


WORLD: Tree = [([], "file", "file"), ([], "a b'c", "file"), (["d e"], "x", "file"), ([], "nowhere-link", "missing")]
ANSWERED = [
    "mkdir -m 777 -p {w}/new/er",
    "mkdir -m 777 -p {w}/new/er && readlink -f {w}/new/er",
    "mkdir -p {w}/file-not/there {w}/other",
    "test -e {w}/file",
    "test -e '{w}/a b'\"'\"'c'",
    'test -d "{w}/d e"',
    "test -e {w}/file && readlink -f {w}/file",
    "test -e {w}/none && readlink -f {w}/none",
    "test -f {w}/file && sha1sum {w}/file | awk '{print $1}'",
    "test -f '{w}' && sha1sum '{w}' | awk '{print $1}'",
    "find -L \"{w}\" -type f -exec ls -ln {} \\+ | awk 'BEGIN {sum=0} {sum+=$5} END {print sum}'; ",
    SIZE.format('"{w}/file" "{w}/d e"'),
    "find '{w}' -mindepth 1 -maxdepth 1 -type d",
    "find -L '{w}' -mindepth 1 -maxdepth 1 -type f",
    "set -- '{w}'/*.txt ; test -e \"$1\" && printf '%s\\n' \"$@\" ; :",
    'set -- {w}/f* ; test -e "$1" && printf \'%s\\n\' "$@" ; :',
    "ln -snf {w}/file {w}/link",
    "ln -snf {w}/file '{w}/d e'",
    "/bin/cp -rf {w}/file {w}/copy",
    "cat {w}/file",
    "head -c 3 {w}/file",
    "chmod 755 {w}/file",
    "rm -rf {w}/file",
    "rm -rf {w}",
]


@pytest.mark.parametrize("command", ANSWERED)
def test_what_streamflow_sends_needs_no_process(command: str) -> None:
    with closing(World(WORLD)) as world:
        assert compare(world, command.replace("{w}", world.folder))


FOR_THE_SHELL = [
    "test -e $HOME",
    "test -e ~",
    'test -e "`pwd`"',
    "test -e a -a -e b",
    "test ! -e a",
    "test -e",
    "test -e -x",
    "cat a b",
    "cat -",
    "cat nowhere",
    "mkdir a/b",
    "mkdir -p a/../b",
    "mkdir -m u+x a",
    "rm -rf .",
    "rm -rf a/",
    "rm -r a",
    "chmod u+x a",
    "find . -name x",
    "echo hello",
    "test -e a; rm -rf b",
    "test -e a || rm -rf b",
    "test -e a &",
    "test -e a\nrm -rf b",
    "test -e a # comment",
    "X=1 test -e a",
    "test -e {a,b}",
    "/bin/cp -rf a/* b",
    "",
]


@pytest.mark.parametrize("command", FOR_THE_SHELL)
def test_all_else_is_left_to_the_shell(command: str) -> None:
    with tempfile.TemporaryDirectory() as folder, inside(folder):
        assert answering.answer(command) is None


CLOSED = [
    "test -e {w}/closed/x && readlink -f {w}/closed/x",
    "test -f {w}/secret && sha1sum {w}/secret | awk '{print $1}'",
    "cat {w}/secret",
    "mkdir -m 777 -p {w}/closed/new/er",
    "mkdir -m 777 -p {w}/readonly/new",
    "rm -rf {w}/closed {w}/readonly",
    "ln -snf x {w}/readonly/link",
    "/bin/cp -rf {w}/secret {w}/open/copy",
    "chmod 777 {w}/secret",
    SIZE.format('"{w}"'),
    "find {w}/closed -mindepth 1 -maxdepth 1 -type f",
    'set -- {w}/closed/* ; test -e "$1" && printf \'%s\\n\' "$@" ; :',
    "test -x {w}/secret",
    "test -r {w}/secret",
]


@pytest.mark.skipif(os.getuid() != 0, reason="makes root's files, and then asks as somebody else")
@pytest.mark.parametrize("command", CLOSED)
def test_without_permission_the_answer_is_the_shells_too(command: str) -> None:
    def build() -> str:
        folder = tempfile.mkdtemp(prefix="fluxop-closed-")
        os.chmod(folder, 0o755)
        for name, mode in (("closed", 0o700), ("readonly", 0o755), ("open", 0o777)):
            os.mkdir(f"{folder}/{name}")
            Path(f"{folder}/{name}/x").write_text("x")
            os.chmod(f"{folder}/{name}", mode)
        Path(f"{folder}/secret").write_text("s")
        os.chmod(f"{folder}/secret", 0o600)
        return folder

    def as_nobody() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    theirs, ours = build(), build()
    try:
        line = command.replace("{w}", theirs)
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, preexec_fn=as_nobody)
        expected = (done.stdout.replace(theirs.encode(), b"W"), done.returncode)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                as_nobody()
                result = answering.answer(command.replace("{w}", ours))
                os.write(
                    writer, repr(result and (result.output.replace(ours.encode(), b"W"), result.exit_code)).encode()
                )
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with open(reader, "rb") as said:
            answer = said.read().decode()
        assert answer in ("None", repr(expected))
        if answer != "None":
            assert done.stderr == b""
            assert snapshot(ours) == snapshot(theirs)
    finally:
        shutil.rmtree(theirs)
        shutil.rmtree(ours)
