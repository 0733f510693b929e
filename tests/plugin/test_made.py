"""What was made a moment ago need not be asked for again, until something may have changed it."""

import shlex
import subprocess

import pytest

from streamflow_fluxop.agent import shell
from streamflow_fluxop.plugin.made import KEPT, Made

MAKE = "mkdir -m 777 -p /work/a"
ASK = "test -e /work/a && readlink -f /work/a"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(clock):
    made = Made(clock)
    assert made.asking("here", MAKE) == (f"{MAKE} && readlink -f /work/a", "/work/a")
    made.made("here", "/work/a", "/volume/a")
    return made


def test_the_real_path_is_known_where_the_directory_was_made(made):
    assert made.real_path("here", ASK) == "/volume/a"
    assert made.real_path("here", ASK) == "/volume/a"
    assert made.real_path("elsewhere", ASK) is None


def test_it_is_known_for_a_moment_only(made, clock):
    clock.now = KEPT
    assert made.real_path("here", ASK) is None
    for n in range(100):
        clock.now += KEPT / 8
        made.made("here", f"/work/{n}", "/x")
    assert len(made._known) <= 8


@pytest.mark.parametrize(
    "line", ["rm -rf /work/a", "rm -rf /work", "rm -rf '/work/a'", "mv /work/a /b", "sh -c 'rm -r /work'"]
)
def test_what_may_change_it_is_seen(made, line):
    assert made.asking("here", line) == (line, None)
    assert made.real_path("here", ASK) is None


@pytest.mark.parametrize(
    "line", ["test -e /work/a/out.txt", "ln -snf /data/x /work/a/x", "rm -rf /work/ab", ASK, "find -L /work/a -type f"]
)
def test_what_leaves_it_as_it_is_is_seen(made, line):
    assert made.asking("here", line) == (line, None)
    assert made.real_path("here", ASK) == "/volume/a"


@pytest.mark.parametrize(
    "line",
    [
        "test -e /work/a && readlink -f /work/b",
        "test -e /work/a",
        "test -e /work/a && readlink -f /work/a; rm -rf /work/a",
        "cd /work && test -e /work/a && readlink -f /work/a",
    ],
)
def test_other_questions_are_not_answered(made, line):
    assert made.real_path("here", line) is None


@pytest.mark.parametrize(
    "line", ["mkdir -p /work/a", "mkdir -m 777 -p 'a b'", "mkdir -m 777 -p /a /b", "mkdir -m 777 -p a"]
)
def test_other_lines_stay_as_they_are(made, line):
    assert made.asking("here", line) == (line, None)


def test_shell_and_agent_make_the_directory_and_say_its_real_path(tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "work").symlink_to("volume")
    for name, run in (
        ("by-agent", lambda line: shell.answer(line).output),
        ("by-shell", lambda line: subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True).stdout),
    ):
        path = f"{tmp_path}/work/new/{name}"
        assert shlex.quote(path) == path
        line, directory = Made().asking("here", f"mkdir -m 777 -p {path}")
        assert directory == path
        assert run(line).decode() == f"{tmp_path}/volume/new/{name}\n"
        assert (tmp_path / "volume" / "new" / name).is_dir()
