"""Directories are made without waiting for each; whatever uses one waits until it is there, or fails as it does."""

import asyncio
import shlex

import pytest
from streamflow.core.exception import WorkflowExecutionException

from streamflow_fluxop.agent.client.errors import ConnectionLost
from streamflow_fluxop.agent.shell_fastpath import answering
from streamflow_fluxop.agent.wire.protocol import CommandResult
from streamflow_fluxop.streamflow_plugin.internals.directories import KEPT, SIZES_KEPT, Directories


def make(path):
    return f"mkdir -m 777 -p {path}"


def ask(path):
    return f"test -e {path} && readlink -f {path}"


class There:
    """Where commands run: /work is a link to /volume. What `slow` names takes until `go`."""

    def __init__(self):
        self.now = 0.0
        self.lines = []
        self.slow = ""
        self.go = asyncio.Event()
        self.failure = None
        self.directories = Directories(lambda: self.now)

    async def run(self, line, place="here"):
        result = await self.directories.run(place, line, self._carry_out)
        return result.output.decode(), result.exit_code

    async def _carry_out(self, line):
        self.lines.append(line)
        if self.slow and self.slow in line:
            await self.go.wait()
            if isinstance(self.failure, Exception):
                raise self.failure
            if self.failure is not None:
                return self.failure
        if line.startswith("mkdir"):
            return CommandResult(line.split()[-1].replace("/work", "/volume").encode() + b"\n", 0)
        return CommandResult(b"said\n", 0)

    def asked(self, path):
        return ask(path) in self.lines


@pytest.fixture
async def there():
    there = There()
    assert await there.run(make("/work/first")) == ("", 0)
    yield there
    await there.directories.close()


async def test_a_directory_and_its_real_path_take_one_command(there):
    assert there.lines == [f"{make('/work/first')} && readlink -f /work/first"]
    assert await there.run(ask("/work/first")) == ("/volume/first", 0)
    assert len(there.lines) == 1
    assert await there.run(ask("/work/first"), "elsewhere") == ("said\n", 0)


async def test_those_beside_it_are_made_without_waiting(there):
    there.slow = "/work/second"
    assert await there.run(make("/work/second")) == ("", 0)
    assert await there.run(ask("/work/second")) == ("/volume/second", 0)
    assert not there.asked("/work/second")


@pytest.mark.parametrize(
    "line", ["ln -snf /data/x /work/second/x", "test -e /work/second/out.txt", "rm -rf /work/second"]
)
async def test_what_names_one_waits_until_it_is_there(there, line):
    there.slow = make("/work/second")
    await there.run(make("/work/second"))
    using = asyncio.create_task(there.run(line))
    other = await there.run("test -e /work/first/out.txt")
    assert other == ("said\n", 0)
    assert line not in there.lines
    there.go.set()
    assert await using == ("said\n", 0)


async def test_a_job_waits_for_the_directories_in_its_environment(there):
    there.slow = "/work/second"
    await there.run(make("/work/second"))
    job = asyncio.create_task(there.directories.made("here", "/work/first /work/second sh -c true"))
    everything = asyncio.create_task(there.directories.made("here"))
    await there.directories.made("elsewhere")
    await asyncio.sleep(0)
    assert not job.done()
    there.go.set()
    await asyncio.gather(job, everything)


@pytest.mark.parametrize(
    ("failure", "error", "why"),
    [
        (CommandResult(b"", 1, b"mkdir: No space left"), WorkflowExecutionException, "FAILED `mkdir .*No space left"),
        (CommandResult(b"/moved/second\n", 0), WorkflowExecutionException, "its parent was moved"),
        (ConnectionLost("one", "the pod is gone"), ConnectionLost, "the pod is gone"),
    ],
)
async def test_what_uses_one_that_can_not_be_made_fails_with_the_reason(there, failure, error, why):
    there.slow, there.failure = "/work/second", failure
    there.go.set()
    await there.run(make("/work/second"))
    for _ in range(2):
        with pytest.raises(error, match=why):
            await there.directories.made("here", "cd /work/second")
    await there.directories.made("here", "cd /work/first")


async def test_the_first_one_that_can_not_be_made_says_so_itself():
    there = There()
    there.slow, there.failure = "/work", CommandResult(b"", 1)
    there.go.set()
    assert await there.run(make("/work/first")) == ("", 1)


async def test_it_is_known_for_a_moment_only(there):
    there.now = KEPT
    there.slow = "/work/second"
    assert await there.run(ask("/work/first")) == ("said\n", 0)
    second = asyncio.create_task(there.run(make("/work/second")))
    await asyncio.sleep(0)
    assert not second.done()
    there.go.set()
    assert await second == ("", 0)


async def test_little_is_kept(there):
    for n in range(100):
        there.now += KEPT / 8
        await there.run(make(f"/work/{n}"))
        await there.directories.made("here")
    assert len(there.directories._known) <= 8
    assert not there.directories._being_made


@pytest.mark.parametrize("line", ["rm -rf /work/first", "rm -rf '/work/first'", "mv /work /b", "sh -c 'rm -r /work/'"])
async def test_what_may_change_it_is_seen(there, line):
    await there.run(line)
    await there.run(ask("/work/first"))
    assert there.asked("/work/first")


@pytest.mark.parametrize(
    "line", ["ln -snf /data/x /work/first/x", "rm -rf /work/firsts", "find -L /work/first -type f"]
)
async def test_what_leaves_it_as_it_is_is_seen(there, line):
    await there.run(line)
    await there.run(ask("/work/first"))
    assert not there.asked("/work/first")


@pytest.mark.parametrize(
    "line",
    [
        "mkdir -p /work/a",
        "mkdir -m 777 -p 'a b'",
        "mkdir -m 777 -p /work/a /work/b",
        "mkdir -m 777 -p /work/../a",
        "mkdir -m 777 -p work",
        "test -e /work/first && readlink -f /work/b",
        "test -e /work/first",
        "cd /work && test -e /work/first && readlink -f /work/first",
    ],
)
async def test_other_lines_stay_as_they_are(there, line):
    await there.run(line)
    assert there.lines[-1] == line


def sizes(*paths):
    names = " ".join(f'"{path}"' for path in paths)
    return f"find -L {names} -type f -exec ls -ln {{}} \\+ | awk 'BEGIN {{sum=0}} {{sum+=$5}} END {{print sum}}';"


async def test_how_much_a_job_has_left_is_asked_ahead_of_streamflow(there):
    there.directories.used("here", {"/work/out", "/work/tmp"}, there._carry_out)
    await asyncio.sleep(0)
    assert there.lines[-1] == sizes("/work/out", "/work/tmp")
    count = len(there.lines)
    assert await there.run(sizes("/work/tmp", "/work/out") + " ") == ("said\n", 0)  # as StreamFlow writes it
    assert len(there.lines) == count
    assert await there.run(sizes("/work/tmp", "/work/out")) == ("said\n", 0)
    assert len(there.lines) == count + 1


async def test_what_streamflow_asks_of_other_directories_is_asked_then(there):
    there.directories.used("here", {"/work/out", "/work/tmp"}, there._carry_out)
    await there.run(sizes("/work/out"))
    await there.run(sizes("/work/out", "/work/tmp"), "elsewhere")
    assert there.lines[-2:] == [sizes("/work/out"), sizes("/work/out", "/work/tmp")]
    there.now += SIZES_KEPT
    there.directories.used("here", {"/work/a", "/work/b"}, there._carry_out)
    assert len(there.directories._sizes) == 1


async def test_shell_and_agent_make_a_directory_and_say_its_real_path(tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "work").symlink_to("volume")

    async def by_agent(line):
        return answering.answer(line)

    async def by_shell(line):
        run = await asyncio.create_subprocess_exec("/bin/sh", "-c", line, stdout=asyncio.subprocess.PIPE)
        output, _ = await run.communicate()
        return CommandResult(output, run.returncode)

    for name, carry_out in (("by-agent", by_agent), ("by-shell", by_shell)):
        directories = Directories()
        for path in (f"{tmp_path}/work/new/{name}", f"{tmp_path}/work/new/{name}-2"):
            assert shlex.quote(path) == path
            assert await directories.run("here", make(path), carry_out) == CommandResult(b"", 0)
            real = await directories.run("here", ask(path), carry_out)
            assert real.output.decode() == path.replace("/work/", "/volume/")
            await directories.made("here", path)
        assert (tmp_path / "volume" / "new" / f"{name}-2").is_dir()
        await directories.close()
