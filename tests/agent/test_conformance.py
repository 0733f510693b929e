"""What a MiniCluster does, whatever schedules its jobs: 3 nodes with 4 cores and 2 GPUs each."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio

from streamflow_fluxop.agent.client.client import AgentClient, AgentError, ConnectionLost, JobRequest, JobResult
from streamflow_fluxop.agent.system.processes import with_environment
from streamflow_fluxop.agent.wire import protocol
from streamflow_fluxop.miniclusters.local import LocalMiniCluster
from streamflow_fluxop.model import Flavour

# ruff: noqa: ASYNC240, PT012 - tests may look at files, and say what they do in one block
pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES, CORES, GPUS = 3, 4, 2
FLAVOUR = Flavour(cores=CORES, memory=1024, gpus=GPUS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def minicluster(backend: Literal["embedded", "flux"]) -> AsyncIterator[LocalMiniCluster]:
    cluster = LocalMiniCluster("conformance", FLAVOUR, NODES, backend=backend)
    await cluster.up()
    yield cluster
    await cluster.down()


@pytest.fixture
def client(minicluster: LocalMiniCluster) -> AgentClient:
    return minicluster.client


def sh(script: str, **fields: Any) -> JobRequest:
    return JobRequest(("/bin/sh", "-c", script), **fields)


class Gate:
    """Jobs wait at it, one passes for each `open`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR)

    @property
    def wait(self) -> str:
        return f"read line <{self.path}"

    def open(self, times: int = 1) -> None:
        os.write(self._fd, b"\n" * times)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.close()


class Jobs:
    """Runs jobs side by side and notes in which order they start and end."""

    def __init__(self, client: AgentClient) -> None:
        self._client = client
        self.started: list[str] = []
        self._events: dict[str, asyncio.Event] = {}

    def run(self, name: str, request: JobRequest) -> asyncio.Task[JobResult]:
        self._events[name] = asyncio.Event()
        return asyncio.create_task(self._run(name, request))

    async def _run(self, name: str, request: JobRequest) -> JobResult:
        def on_state(state: str) -> None:
            if state == "started":
                self.started.append(name)
                self._events[name].set()

        return await self._client.run_job(request, on_state=on_state)

    async def start_of(self, name: str) -> None:
        await asyncio.wait_for(self._events[name].wait(), 20)


@pytest.fixture
def jobs(client: AgentClient) -> Jobs:
    return Jobs(client)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """For what no event tells: the process table."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


# ------------------------------------------------------------------------------------------------------- how jobs end


async def test_the_agent_says_what_it_drives(client: AgentClient, backend: str) -> None:
    hello = client.hello
    assert hello.backend == backend
    assert (hello.nodes, hello.cores, hello.gpus) == (NODES, NODES * CORES, NODES * GPUS)


async def test_a_job_gives_its_exit_code_and_output(client: AgentClient) -> None:
    result = await client.run_job(sh("echo out; echo err >&2; exit 3"))
    assert result.exit_code == 3
    assert sorted(result.output.split()) == ["err", "out"]
    assert result.reason is None


async def test_states_come_in_order(client: AgentClient) -> None:
    states: list[str] = []
    await client.run_job(sh("true"), on_state=states.append)
    assert states == ["submitted", "started"]


async def test_no_shell_touches_the_arguments(client: AgentClient) -> None:
    argv = ("printf", r"<%s>", "a b", "$HOME", "it's", "*", "", "\n", "ü漢", "\\", '"', "{{id}}", "-n", "\udcff")
    result = await client.run_job(JobRequest(argv))
    assert result.output.encode() == "".join(f"<{word}>" for word in argv[2:]).encode("utf-8", "replace").replace(
        b"<?>", "<\ufffd>".encode()
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_signal_is_told_as_a_shell_tells_it(client: AgentClient, number: int) -> None:
    assert (await client.run_job(sh(f"kill -{int(number)} $$"))).exit_code == 128 + number


async def test_the_worst_task_decides(client: AgentClient) -> None:
    assert (await client.run_job(sh("exit $((FLUX_TASK_RANK * 10))", tasks=4))).exit_code == 30


async def test_a_command_that_is_not_there_is_127(client: AgentClient) -> None:
    result = await client.run_job(JobRequest(("no-such-command", "x")))
    assert result.exit_code == 127
    assert "no-such-command" in (result.reason or "") + result.output


async def test_a_command_that_is_no_program_is_126(client: AgentClient, tmp_path: Path) -> None:
    assert (await client.run_job(JobRequest((str(tmp_path),)))).exit_code == 126


async def test_a_script_without_a_first_line_is_the_shells(client: AgentClient, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo $1\n")
    script.chmod(0o755)
    assert (await client.run_job(JobRequest((str(script), "hi")))).output == "hi\n"


async def test_a_job_lasts_as_long_as_what_it_left_in_the_background(client: AgentClient, tmp_path: Path) -> None:
    done = tmp_path / "done"
    await client.run_job(sh(f"(sleep 0.3; : >{done}) >/dev/null 2>&1 &", stdout="/dev/null", stderr="/dev/null"))
    assert done.exists()


# --------------------------------------------------------------------------------------------------------- their world


async def test_the_environment_arrives_byte_by_byte(client: AgentClient) -> None:
    values = {
        "A": "b a$r `x` \"q\" 'p' \\ \n*",
        "B": "",
        "UTF": "é漢😀",
        "RAW": "\udcff\udc80",
        "PATH": os.environ["PATH"],
    }
    result = await client.run_command("true")
    assert result.exit_code == 0
    script = 'printf "%s|%s|%s|%s" "$A" "$B" "$UTF" "$RAW" | od -An -v -tx1'
    output = (await client.run_job(sh(script, environment=values))).output
    expected = "|".join(values[name] for name in ("A", "B", "UTF", "RAW")).encode("utf-8", "surrogateescape")
    assert bytes.fromhex(output) == expected


async def test_a_job_runs_in_its_directory(client: AgentClient, tmp_path: Path) -> None:
    folder = tmp_path / "a b'c é"
    folder.mkdir()
    assert (await client.run_job(JobRequest(("pwd", "-P"), cwd=str(folder)))).output == f"{folder.resolve()}\n"


async def test_a_job_whose_directory_is_missing_does_not_run_elsewhere(client: AgentClient, tmp_path: Path) -> None:
    result = await client.run_job(JobRequest(("touch", "x"), cwd=str(tmp_path / "none")))
    assert result.exit_code == 1
    assert result.reason is not None
    assert result.reason.startswith("cannot start: ")
    assert "No such file or directory" in result.reason


async def test_a_job_without_stdin_reads_nothing(client: AgentClient) -> None:
    assert (await asyncio.wait_for(client.run_job(JobRequest(("cat",), tasks=2)), 20)).exit_code == 0


NAMES = ["plain", "a b", "it's", 'q"', "-dash", "ü漢", "$x `y`", "{{id}}", "new\nline", "\udcff"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
async def test_redirections_are_byte_exact(client: AgentClient, tmp_path: Path, name: str) -> None:
    data = os.urandom(200_000)
    (tmp_path / f"in {name}").write_bytes(data)
    out, err = f"out {name}", f"err {name}"
    (tmp_path / out).write_bytes(b"longer than what comes" * 100_000)
    result = await client.run_job(
        sh("cat; echo problem >&2", cwd=str(tmp_path), stdin=f"in {name}", stdout=out, stderr=str(tmp_path / err))
    )
    assert result == JobResult(0, "")
    assert (tmp_path / out).read_bytes() == data
    assert (tmp_path / err).read_bytes() == b"problem\n"


async def test_output_and_errors_in_one_file_keep_their_order(client: AgentClient, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    await client.run_job(sh(script, stdout=path, stderr=path))
    assert Path(path).read_text() == "".join(f"out {i}\nerr {i}\n" for i in range(1, 10))


async def test_one_redirection_leaves_the_other_stream_alone(client: AgentClient, tmp_path: Path) -> None:
    result = await client.run_job(sh("echo out; echo err >&2", cwd=str(tmp_path), stdout="log"))
    assert (result.output, (tmp_path / "log").read_text()) == ("err\n", "out\n")
    result = await client.run_job(sh("echo out; echo err >&2", cwd=str(tmp_path), stderr="log"))
    assert (result.output, (tmp_path / "log").read_text()) == ("out\n", "err\n")


async def test_several_tasks_write_to_one_file(client: AgentClient, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("everybody's\n")
    request = sh("read x; echo $x $FLUX_TASK_RANK; echo err >&2", cwd=str(tmp_path), stdin="in", stdout="out", tasks=4)
    result = await client.run_job(request)
    assert sorted((tmp_path / "out").read_text().splitlines()) == [f"everybody's {rank}" for rank in range(4)]
    assert result.output == "err\n" * 4


@pytest.mark.parametrize("field", ["stdin", "stdout", "stderr"])
async def test_a_redirection_that_cannot_be_is_the_reason(client: AgentClient, tmp_path: Path, field: str) -> None:
    result = await client.run_job(JobRequest(("true",), cwd=str(tmp_path), **{field: "none/x"}))
    assert result.exit_code == 1
    assert result.reason is not None
    assert result.reason.startswith("cannot start: ")
    assert "No such file or directory" in result.reason


# -------------------------------------------------------------------------------------------------- nodes, cores, GPUs

TELL = 'echo "$FLUX_TASK_RANK $FLUX_TASK_LOCAL_ID $FLUX_JOB_SIZE $FLUX_JOB_NNODES $CUDA_VISIBLE_DEVICES"'


async def tasks_of(client: AgentClient, **fields: Any) -> list[str]:
    result = await client.run_job(sh(TELL, **fields))
    assert result.exit_code == 0, result
    return sorted(result.output.splitlines())


async def test_tasks_fill_as_few_nodes_as_hold_them(client: AgentClient) -> None:
    assert await tasks_of(client, tasks=4) == [f"{rank} {rank} 4 1 -1" for rank in range(4)]
    assert [line.split()[3] for line in await tasks_of(client, tasks=3, cores_per_task=3)] == ["3"] * 3


async def test_tasks_spread_evenly_over_the_nodes_asked_for(client: AgentClient) -> None:
    assert await tasks_of(client, tasks=4, nodes=2) == ["0 0 4 2 -1", "1 1 4 2 -1", "2 0 4 2 -1", "3 1 4 2 -1"]
    assert await tasks_of(client, tasks=3, nodes=2) == ["0 0 3 2 -1", "1 1 3 2 -1", "2 0 3 2 -1"]
    assert [line.split()[1] for line in await tasks_of(client, tasks=4, nodes=3)] == ["0", "1", "0", "0"]


async def test_tasks_see_the_gpus_of_their_job_on_their_node(client: AgentClient) -> None:
    gpu = (await tasks_of(client, gpus_per_task=1))[0][-1]  # Flux begins with 0, Fluxion with the last one
    assert gpu in "01"
    assert await tasks_of(client, gpus_per_task=1) == [f"0 0 1 1 {gpu}"]
    assert await tasks_of(client, tasks=3, gpus_per_task=1, nodes=3) == [f"{rank} 0 3 3 {gpu}" for rank in range(3)]
    assert await tasks_of(client, tasks=2, gpus_per_task=1) == ["0 0 2 1 0,1", "1 1 2 1 0,1"]
    assert await tasks_of(client, tasks=3, nodes=2, gpus_per_task=1) == ["0 0 3 2 0,1", "1 1 3 2 0,1", f"2 0 3 2 {gpu}"]


async def test_two_jobs_never_share_a_gpu(client: AgentClient, jobs: Jobs, gate: Gate) -> None:
    tasks = [jobs.run(str(i), sh(f"echo $CUDA_VISIBLE_DEVICES; {gate.wait}", gpus_per_task=1)) for i in range(6)]
    for name in "012345":
        await jobs.start_of(name)
    gate.open(6)
    assert sorted(result.output for result in await asyncio.gather(*tasks)) == ["0\n"] * 3 + ["1\n"] * 3


async def test_never_more_jobs_run_than_there_are_cores(client: AgentClient, tmp_path: Path) -> None:
    count = f"cd {tmp_path}; mkdir $FLUX_JOB_ID; ls | wc -l; sleep 0.05; rmdir $FLUX_JOB_ID"
    results = await asyncio.gather(*(client.run_job(sh(count, cores_per_task=2)) for _ in range(30)))
    assert max(int(result.output) for result in results) <= NODES * CORES // 2


async def test_first_come_first_served(jobs: Jobs, gate: Gate) -> None:
    """What does not fit blocks what comes behind it, even where that would fit."""
    holder = jobs.run("holder", sh(gate.wait))
    await jobs.start_of("holder")
    waiting = [jobs.run("wide", sh("true", tasks=NODES * CORES)), jobs.run("small", sh("true"))]
    others = [jobs.run(str(i), sh("true")) for i in range(5)]
    assert (await jobs._client.run_command("echo meanwhile")).output == b"meanwhile\n"
    assert jobs.started == ["holder"]
    gate.open()
    await asyncio.gather(holder, *waiting, *others)
    assert jobs.started[:2] == ["holder", "wide"]


async def test_an_exclusive_job_has_its_nodes_alone(jobs: Jobs, gate: Gate) -> None:
    exclusive = jobs.run("exclusive", sh(gate.wait, tasks=2, nodes=2, exclusive=True))
    await jobs.start_of("exclusive")
    small = [jobs.run(str(i), sh(gate.wait)) for i in range(CORES + 1)]
    for name in range(CORES):
        await jobs.start_of(str(name))
    assert len(jobs.started) == 1 + CORES
    gate.open(2 + CORES + 1)
    await asyncio.gather(exclusive, *small)


async def test_exclusive_without_a_node_count_takes_whole_nodes(client: AgentClient) -> None:
    lines = await tasks_of(client, tasks=5, exclusive=True)
    assert {line.split()[3] for line in lines} == {"2"}
    assert {line.split()[4] for line in lines} == {"0,1"}


UNSATISFIABLE = [
    ({"tasks": 13}, "need 13 slot(s) of 1 core(s), only 12 such slot(s) available (total cores: 12)"),
    ({"cores_per_task": 5}, "need 1 slot(s) of 5 core(s), only 0 such slot(s) available (total cores: 12)"),
    ({"gpus_per_task": 3}, "need 1 slot(s) with 3 GPU(s) each, only 0 available (total GPUs: 6)"),
    ({"tasks": 7, "gpus_per_task": 1}, "need 7 slot(s) with 1 GPU(s) each, only 6 available (total GPUs: 6)"),
    ({"tasks": 4, "nodes": 4}, "need 4 node(s) with 1 cores each, only 3 eligible"),
    ({"tasks": 6, "nodes": 2, "gpus_per_task": 1}, "need 2 node(s) with 3 cores and 3 GPUs each, only 0 eligible"),
    ({"tasks": 4, "nodes": 4, "exclusive": True}, "need 4 exclusive node(s), only 3 eligible"),
    ({"tasks": 5, "ranks": (1,)}, "need 5 slot(s) of 1 core(s), only 4 such slot(s) available (total cores: 4)"),
    ({"ranks": (7,)}, "need 1 slot(s) of 1 core(s), only 0 such slot(s) available (total cores: 0)"),
]


@pytest.mark.parametrize(("fields", "why"), UNSATISFIABLE, ids=[str(fields) for fields, _ in UNSATISFIABLE])
async def test_what_can_never_run_is_refused_at_once(
    client: AgentClient, jobs: Jobs, gate: Gate, fields: dict[str, Any], why: str
) -> None:
    full = jobs.run("full", sh(gate.wait, tasks=NODES * CORES))
    result = asyncio.create_task(client.run_job(sh("true", **fields)))
    await jobs.start_of("full")
    gate.open(NODES * CORES)
    assert await result == JobResult(1, "", f"unsatisfiable request: {why}")
    await full


# ------------------------------------------------------------------------------------------- limits and cancelling


def running(mark: str) -> set[int]:
    return with_environment(f"FLUXOP_TEST={mark}".encode())


TREE = "sleep 1000 & (sleep 1000 & sleep 1000) & sleep 1000"


async def test_a_job_at_its_time_limit_is_gone_with_all_its_processes(client: AgentClient) -> None:
    start = time.monotonic()
    result = await client.run_job(sh(TREE, time_limit=0.5, environment={"FLUXOP_TEST": "limit"}))
    assert result.exit_code == 142
    assert result.reason == "time limit of 0.5 s exceeded"
    assert time.monotonic() - start < 8
    await until(lambda: not running("limit"))


async def test_a_time_limit_counts_from_the_start(jobs: Jobs, gate: Gate) -> None:
    full = jobs.run("full", sh(gate.wait, tasks=NODES * CORES))
    await jobs.start_of("full")
    limited = jobs.run("limited", sh("true", time_limit=1))
    await asyncio.sleep(1.2)
    gate.open(NODES * CORES)
    assert (await full).exit_code == 0
    assert (await limited).exit_code == 0


async def test_memory_and_cpu_time_of_a_job_are_measured(client: AgentClient) -> None:
    code = "block = b'x' * (90 << 20); sum(range(2_000_000)); print('done')"
    result = await client.run_job(JobRequest((sys.executable, "-c", code), tasks=2))
    assert (result.exit_code, result.output) == (0, "done\ndone\n")
    assert 180 << 10 < (result.memory or 0) < 300 << 10
    assert 20 < (result.cpu or 0) < 20_000


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("streams", [{}, {"stdout": "o"}, {"stderr": "e"}, {"stdout": "o", "stderr": "o"}])
async def test_measuring_a_job_leaves_no_trace_in_what_it_writes(
    client: AgentClient, tmp_path: Path, streams: dict[str, str], tasks: int
) -> None:
    request = JobRequest(
        ("/bin/sh", "-c", "echo out; sleep 0.1; echo err >&2; exit 3"),
        cwd=str(tmp_path),
        tasks=tasks,
        name=f"/quiet/{'-'.join(streams)}{tasks}",
        **streams,
    )
    result = await client.run_job(request)
    assert result.exit_code == 3
    said = [result.output, *(tmp_path.joinpath(name).read_text() for name in set(streams.values()))]
    lines = [line for text in said for line in text.splitlines()]
    assert sorted(lines) == sorted(["out", "err"] * tasks)


async def test_a_job_that_is_measured_ends_by_its_signal_and_limit(client: AgentClient) -> None:
    assert (await client.run_job(sh("kill -9 $$", name="/killed"))).exit_code == 128 + 9
    late = await client.run_job(sh("trap 'exit 9' ALRM; sleep 9 & wait", time_limit=0.5, name="/late"))
    assert late.exit_code == 142
    assert (await client.run_job(JobRequest(("no-such-program",), name="/missing"))).exit_code == 127


async def test_a_job_within_its_time_limit_is_left_alone(client: AgentClient) -> None:
    assert (await client.run_job(sh("exit 5", time_limit=60))).exit_code == 5


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelling_a_running_job_ends_its_processes_first(jobs: Jobs) -> None:
    task = jobs.run("job", sh(TREE, environment={"FLUXOP_TEST": "cancel"}))
    await jobs.start_of("job")
    await until(lambda: len(running("cancel")) >= 5)
    await cancelled(task)
    await until(lambda: not running("cancel"))


async def test_cancelling_a_waiting_job_lets_those_behind_it_pass(jobs: Jobs, gate: Gate) -> None:
    holder = jobs.run("holder", sh(gate.wait))
    await jobs.start_of("holder")
    wide = jobs.run("wide", sh("true", tasks=NODES * CORES))
    small = jobs.run("small", sh("true"))
    await jobs._client.ping()
    await cancelled(wide)
    assert (await small).exit_code == 0
    gate.open()
    await holder
    assert jobs.started == ["holder", "small"]


async def test_a_job_cancelled_before_it_is_known_never_starts(client: AgentClient, tmp_path: Path) -> None:
    task = asyncio.create_task(client.run_job(sh(f"sleep 5; touch {tmp_path}/ran")))
    await asyncio.sleep(0)
    await cancelled(task)
    assert not (tmp_path / "ran").exists()


# ------------------------------------------------------------------------------------------------------- much of it all


def memory(pid: int) -> int:
    """Resident MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    raise AssertionError


async def test_a_flood_of_output_sinks_nobody(client: AgentClient) -> None:
    before = memory(client.hello.pid), memory(os.getpid())
    flood = asyncio.create_task(client.run_job(sh(f"yes 0123456 | head -c {1 << 30}; echo the end; exit 7")))
    most = (0, 0)
    while not flood.done():
        await client.ping()
        most = max(most[0], memory(client.hello.pid)), max(most[1], memory(os.getpid()))
        await asyncio.wait([flood], timeout=0.2)
    result = flood.result()
    assert result.exit_code == 7
    assert len(result.output) < protocol.OUTPUT_KEPT + 1000
    assert "dropped" in result.output
    assert result.output.endswith("the end\n")
    assert most[0] - before[0] < 64
    assert most[1] - before[1] < 64


async def test_the_end_of_the_output_is_kept(client: AgentClient) -> None:
    result = await client.run_job(sh("seq 1 30000; echo the end"))
    notice, rest = result.output.split("\n", 1)
    size = sum(len(f"{i}\n") for i in range(1, 30001)) + len("the end\n")
    count = size - protocol.OUTPUT_KEPT if client.hello.backend == "embedded" else "some"
    assert notice == f"[{count} bytes of output before this were dropped]"
    assert rest.endswith("29999\n30000\nthe end\n")


async def test_output_that_is_no_text_is_made_text(client: AgentClient) -> None:
    assert (await client.run_job(sh(r"printf 'a\377b\0c'"))).output == "a\ufffdb\0c"


async def test_thousands_of_jobs_at_once(client: AgentClient) -> None:
    count = 2000 if client.hello.backend == "embedded" else 150
    results = await asyncio.gather(*(client.run_job(sh(f"exit {i % 5}")) for i in range(count)))
    assert [result.exit_code for result in results] == [i % 5 for i in range(count)]


# ------------------------------------------------------------------------------------------------------- small commands


async def test_a_small_command_gives_output_errors_and_exit_code(client: AgentClient) -> None:
    result = await client.run_command("echo out; echo err >&2; exit 3")
    assert (result.output, result.errors, result.exit_code) == (b"out\n", b"err\n", 3)


async def test_small_commands_any_number_at_a_time(client: AgentClient, tmp_path: Path) -> None:
    commands = [f"mkdir -p {tmp_path}/{i} && test -d {tmp_path}/{i}" for i in range(50)]
    commands += [f"test -e {tmp_path} && readlink -f {tmp_path}"] * 500
    results = await asyncio.gather(*map(client.run_command, commands))
    assert {result.exit_code for result in results} == {0}
    assert results[-1].output == f"{tmp_path.resolve()}\n".encode()


async def test_a_heavy_answer_lets_others_pass(client: AgentClient, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(50_000_000))
    slow = asyncio.create_task(
        client.run_command(f"test -f {tmp_path}/big && sha1sum {tmp_path}/big | awk '{{print $1}}'")
    )
    assert await client.ping() < 5
    assert (await slow).output.decode().strip() == hashlib.sha1(bytes(50_000_000)).hexdigest()


async def test_small_commands_pass_a_full_cluster(client: AgentClient, jobs: Jobs, gate: Gate) -> None:
    full = jobs.run("full", sh(gate.wait, tasks=NODES * CORES))
    await jobs.start_of("full")
    assert (await client.run_command("expr 1 + 1")).output == b"2\n"
    gate.open(NODES * CORES)
    await full


async def test_a_small_command_reads_nothing_and_does_not_wait_for_the_background(client: AgentClient) -> None:
    result = await asyncio.wait_for(client.run_command("cat; sleep 3 & echo started"), 2.5)
    assert result.output == b"started\n"


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_small_command_that_takes_too_long_is_killed(client: AgentClient, how: str) -> None:
    command = f"FLUXOP_TEST={how} sh -c 'sleep 1000 & sleep 1000'"
    if how == "timeout":
        with pytest.raises(asyncio.TimeoutError):
            await client.run_command(command, timeout=0.3)
    else:
        task = asyncio.create_task(client.run_command(command))
        await until(lambda: len(running(how)) >= 3)
        await cancelled(task)
    await until(lambda: not running(how))


async def test_a_command_with_too_much_output_is_an_error(client: AgentClient) -> None:
    before = memory(client.hello.pid)
    with pytest.raises(AgentError, match="more than"):
        await client.run_command("cat /dev/zero")
    assert memory(client.hello.pid) - before < 200


async def test_large_output_of_a_command_arrives_whole(client: AgentClient) -> None:
    result = await client.run_command("head -c 20000000 /dev/zero | tr '\\0' x")
    assert result.output == b"x" * 20_000_000


async def test_a_nul_byte_is_refused_before_it_is_sent(client: AgentClient) -> None:
    with pytest.raises(ValueError, match="NUL"):
        await client.run_command("echo a\0b")


# --------------------------------------------------------------------------------------------------------- byte streams


async def test_bytes_stream_out_and_in_unchanged(client: AgentClient, tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    path = tmp_path / "data"
    async with client.open_writer(f"cat >{path}") as writer:
        for start in range(0, len(data), 300_001):
            await writer.write(data[start : start + 300_001])
    assert path.read_bytes() == data
    async with client.open_reader(f"cat {path}") as reader:
        pieces = []
        while piece := await reader.read(100_000):
            assert len(piece) <= 100_000
            pieces.append(piece)
    assert b"".join(pieces) == data


async def test_several_streams_at_once(client: AgentClient) -> None:
    async def read(size: int) -> int:
        async with client.open_reader(f"head -c {size} /dev/zero") as reader:
            return len(await reader.read())

    sizes = [1, 10_000, 3_000_000, 0, 1_000_000]
    assert await asyncio.gather(*map(read, sizes)) == sizes


async def test_a_command_is_held_up_while_nobody_reads(client: AgentClient, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    script = f"while head -c 65536 /dev/zero; do printf x >>{progress}; done"
    before = memory(client.hello.pid), memory(os.getpid())
    async with client.open_reader(script) as reader:
        await reader.read(1)
        for _ in range(200):
            await client.ping()
        written = progress.stat().st_size * 65536
        assert written < protocol.WINDOW * 3
        assert memory(client.hello.pid) - before[0] < 16
        total = 1
        while total < 20_000_000:  # and it goes on when somebody does
            total += len(await reader.read(1 << 20))
    assert progress.stat().st_size * 65536 > 19_000_000


async def test_a_writer_is_held_up_while_the_command_does_not_read(client: AgentClient, gate: Gate) -> None:
    async with client.open_writer(f"{gate.wait}; wc -c >/dev/null") as writer:
        flood = asyncio.create_task(writer.write(bytes(20_000_000)))
        for _ in range(200):
            await client.ping()
        assert not flood.done()
        gate.open()
        await flood


async def test_leaving_a_reader_early_ends_its_command(client: AgentClient) -> None:
    async with client.open_reader("FLUXOP_TEST=reader sh -c 'cat /dev/zero; :'") as reader:
        await reader.read(10)
        assert running("reader")
    await until(lambda: not running("reader"))


async def test_a_failing_stream_command_says_why(client: AgentClient) -> None:
    with pytest.raises(AgentError, match=r"exit code 3: no such luck"):
        async with client.open_reader("echo part; echo no such luck >&2; exit 3") as reader:
            await reader.read()
    with pytest.raises(AgentError, match=r"exit code 4"):
        async with client.open_writer("exit 4") as writer:
            for _ in range(1000):
                await writer.write(bytes(100_000))


# ------------------------------------------------------------------------------------------------------- when it breaks


async def test_a_lost_agent_is_told_to_everyone_who_waits(backend: Literal["embedded", "flux"]) -> None:
    cluster = LocalMiniCluster("doomed", FLAVOUR, 1, backend=backend)
    await cluster.up()
    doomed = cluster.client
    mark = {"FLUXOP_TEST": f"doomed-{backend}"}
    waiting: list[Awaitable[Any]] = [
        asyncio.create_task(doomed.run_job(sh("sleep 1000", environment=mark))),
        asyncio.create_task(doomed.run_job(sh("true", tasks=4))),
        asyncio.create_task(doomed.run_command("sleep 1000")),
    ]
    await until(lambda: bool(running(mark["FLUXOP_TEST"])))
    os.kill(doomed.hello.pid, signal.SIGKILL)
    for error in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30):
        assert isinstance(error, ConnectionLost)
        assert "doomed" in str(error)
    await asyncio.wait_for(doomed.wait_closed(), 5)
    with pytest.raises(ConnectionLost):
        await doomed.ping()
    await cluster.down()
    assert not running(mark["FLUXOP_TEST"])


CONTROLLER = """
import asyncio, sys
from streamflow_fluxop.agent.client.client import JobRequest
from streamflow_fluxop.miniclusters.local import LocalMiniCluster
from streamflow_fluxop.model import Flavour

async def main():
    cluster = LocalMiniCluster("orphan", Flavour(cores=4, memory=1), 2, backend=sys.argv[1], preserve=["FLUXOP_TEST"])
    await cluster.up()
    say = lambda state: state == "started" and print(state, flush=True)
    script = "trap '' TERM INT HUP; (setsid sleep 1000 &) ; sleep 1000"
    await asyncio.gather(
        cluster.client.run_job(JobRequest(("sh", "-c", script), stdout="/dev/null", stderr="/dev/null"), on_state=say),
        cluster.client.run_command("sleep 1000"),
    )

asyncio.run(main())
"""


async def test_when_the_controller_is_killed_nothing_is_left(backend: str) -> None:
    mark = f"orphan-{backend}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONTROLLER, backend,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "FLUXOP_TEST": mark},
    )  # fmt: skip
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"started\n"
    await until(lambda: len(running(mark)) >= 5)
    process.kill()
    await process.wait()
    await until(lambda: not running(mark), 30)


async def test_what_a_job_waits_for_after_its_command_has_ended_is_said(
    backend: str, client: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    if backend != "embedded":
        pytest.skip("Flux waits as well, but says nothing")
    caplog.set_level("DEBUG")
    assert (await client.run_job(sh("sleep 2.5 >/dev/null 2>&1 & echo done"))).exit_code == 0
    assert "the job waits for what it left behind: process" in caplog.text
    assert "(sleep)" in caplog.text
