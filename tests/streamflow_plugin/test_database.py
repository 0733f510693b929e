"""Runs of one user share StreamFlow's database of past runs."""

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections import namedtuple

import pytest
from streamflow.core.workflow import Workflow
from streamflow.persistence.sqlite import SqliteDatabase

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.streamflow_plugin.internals import database as repair

repair.share_between_runs()

ONE = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: {before: string, after: string}
    outputs: {out: {type: File, outputSource: last/out}}
    steps:
      first:
        run:
          class: CommandLineTool
          baseCommand: echo
          stdout: first.txt
          inputs: []
          outputs: {out: stdout}
        in: []
        out: [out]
      last:
        run:
          class: CommandLineTool
          baseCommand: [sh, -c, 'touch "$0"; until [ -e "$1" ]; do sleep 0.05; done']
          stdout: out.txt
          inputs:
            before: {type: string, inputBinding: {position: 1}}
            after: {type: string, inputBinding: {position: 2}}
            f: File
          outputs: {out: stdout}
        in: {before: before, after: after, f: first/out}
        out: [out]
"""


@pytest.fixture
def home(world, tmp_path, monkeypatch):
    """A new home, in which StreamFlow keeps its database where it does by default."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLUXOP_RUNS", str(tmp_path / "runs"))
    (tmp_path / "home").mkdir()
    del world.config["database"]
    world.write("wf.cwl", ONE)
    world.fleet["flavours"] = {"cpu": {"cores": 2, "memory": 4096, "bring_up": 0.1, "tear_down": 0.1}}
    return tmp_path / "home"


def started(world, name, before, after):
    world.inputs(before=str(world.folder / before), after=str(world.folder / after))
    world.write("streamflow.yml", "")
    return world.start("--name", name)


def wait_for(path, process):
    end = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_finishes_beside_another_whose_history_is_found_when_it_is_killed(world, home):
    first = started(world, "same", "first-up", "never")
    wait_for(world.folder / "first-up", first)
    second = started(world, "same", "second-up", "first-up")
    assert second.wait(60) == 0, second.communicate()
    os.kill(first.pid, signal.SIGKILL)
    for process in (first, second):
        process.communicate()
    assert len(list((world.folder / "runs").glob("*.jsonl"))) == 2

    async def main():
        database = SqliteDatabase(Context({"path": ""}), connection=str(next(home.glob(".streamflow/*/sqlite.db"))))
        listed = await database.get_workflows_list("same")
        assert [(row["status"], row["end_time"] == "-") for row in listed] == [("COMPLETED", False), ("RUNNING", True)]
        assert [row["id"] for row in await database.get_workflows_by_name("same", last_only=True)] == [2]
        reports = await database.get_reports("same")
        assert [sorted(job["name"] for job in run) for run in reports] == [["/first", "/last"], ["/first"]]
        await database.close()

    asyncio.run(main())


# the database alone

Context = namedtuple("Context", "config")


def opened(path, **options):
    return SqliteDatabase(Context({"path": str(path.parent / "streamflow.yml")}), connection=str(path), **options)


async def write(database, rows=1):
    for i in range(rows):
        await database.add_workflow(name=f"w{i}", params={}, status=1, type=Workflow)


def count(path):
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT count(*) FROM workflow").fetchone()[0]
    finally:
        connection.close()


@pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])
def test_ten_first_runs_at_the_same_moment(tmp_path, monkeypatch, filesystem):
    """On a network file system, too, where there is no write-ahead log."""
    on(monkeypatch, filesystem)
    ready, failed = threading.Barrier(10), []

    def run():
        async def main():
            database = opened(tmp_path / "new" / "sqlite.db")
            ready.wait()
            await asyncio.gather(*(write(database, 5) for _ in range(4)))
            await database.close()

        try:
            asyncio.run(main())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert count(tmp_path / "new" / "sqlite.db") == 200


def on(monkeypatch, filesystem):
    import psutil

    mount = namedtuple("mount", "mountpoint fstype")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [mount("/", filesystem)])


@pytest.mark.parametrize(("filesystem", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("fuse.sshfs", "delete")])
def test_the_journal_is_one_that_the_file_system_can_have(tmp_path, monkeypatch, filesystem, mode):
    async def main():
        for filesystem_then in ("ext4", filesystem):  # it was made with the other one
            on(monkeypatch, filesystem_then)
            database = opened(tmp_path / "sqlite.db")
            await write(database)
            async with database.connection as db, db.execute("PRAGMA journal_mode") as cursor:
                found = (await cursor.fetchone())[0]
            await database.close()
        return found

    assert asyncio.run(main()) == mode


@pytest.mark.parametrize("filesystem", ["ext4", "nfs4"])
def test_what_is_written_is_there_for_others_before_the_run_is_over(tmp_path, monkeypatch, filesystem):
    on(monkeypatch, filesystem)

    async def main():
        database = opened(tmp_path / "sqlite.db")
        await write(database, 3)
        await asyncio.sleep(0.2)
        found = count(tmp_path / "sqlite.db")
        await database.close()
        return found

    assert asyncio.run(main()) == 3


def test_a_read_that_is_not_over_lets_writes_through_although_others_have_written(tmp_path):
    async def main():
        mine, other = opened(tmp_path / "sqlite.db"), opened(tmp_path / "sqlite.db")
        await write(mine, 3)
        async with mine.connection as db, db.execute("SELECT * FROM workflow") as cursor:
            assert (await cursor.fetchone())["name"] == "w0"
            await write(other)
            await write(mine)
            assert [row["name"] for row in await cursor.fetchmany(1)] == ["w1"]
            assert len(list(await cursor.fetchall())) == 1
        await mine.close()
        await other.close()

    asyncio.run(main())


def test_a_program_that_holds_the_database_is_spoken_of_and_reads_go_on(tmp_path):
    path = tmp_path / "sqlite.db"

    async def main():
        made = opened(path)
        await write(made)
        await made.close()
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        database = opened(path, timeout=0)
        assert len(await database.get_workflows_list("w0")) == 1
        with pytest.raises(UserError, match=r"sqlite.db: another program has locked .*\n.*connection: PATH"):
            await write(database)
        await database.close()
        holder.close()

    asyncio.run(main())


def test_who_waits_for_the_database_learns_that_it_cannot_be_opened(tmp_path):
    (tmp_path / "sqlite.db").mkdir()

    async def main():
        database = opened(tmp_path / "sqlite.db")
        results = await asyncio.gather(write(database), write(database), return_exceptions=True)
        assert [type(r) for r in results] == [sqlite3.OperationalError] * 2
        await database.close()
        await asyncio.sleep(0.2)  # aiosqlite's thread ends

    asyncio.run(main())


def test_a_database_in_memory_is_streamflow_s_own_affair(tmp_path):
    async def main():
        database = SqliteDatabase(Context({"path": str(tmp_path)}), connection=":memory:")
        await write(database, 2)
        assert len(await database.get_workflows_list(None)) == 2
        await database.close()

    asyncio.run(main())


@pytest.mark.parametrize("source", ["await db.commit(); await db.commit()", "isolation_level=None; db.commit()"])
def test_a_streamflow_that_commits_by_itself_is_left_alone(monkeypatch, source):
    monkeypatch.setattr(repair.inspect, "getsource", lambda module: source)
    assert not repair._holds_one_transaction()
