"""Keeping and taking results when something is in the way."""

import sqlite3

import pytest

from streamflow_fluxop.agent.wire.protocol import JobResult
from streamflow_fluxop.config.fleet import FleetConfig
from streamflow_fluxop.reuse.fingerprint import Folders, JobDescription
from streamflow_fluxop.reuse.results import Scope
from streamflow_fluxop.streamflow_plugin.job_identity import Identity
from streamflow_fluxop.streamflow_plugin.reusing import Left, Reuse

CONFIG = FleetConfig.model_validate({"cluster": "local", "flavours": {"cpu": {"cores": 1, "memory": 1}}, "reuse": True})


class Jobs:
    """Jobs of several runs, each with a directory; those that do the same have the same command."""

    def __init__(self, folder):
        self.folder = folder
        self.runs = 0

    def run(self):
        self.runs += 1
        scope = Scope(but=f"r{self.runs}")
        return Reuse(CONFIG, scope, f"r{self.runs}", "/file", self.folder / "runs")

    def identity(self, name, command="echo", *, files=(), in_place=False):
        directory = self.folder / name
        directory.mkdir()
        for file in files:
            (directory / file).write_text(file)
        folders = Folders({"out": str(directory)})
        return Identity(JobDescription(argv=[command]), folders, str(directory), (), in_place)


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path)


async def left(reuse, identity, name="/s/0"):
    reuse.keep(Left(identity, name, "/s", None, JobResult(0, "said"), 1.0), None)


async def take(reuse, identity):
    return await reuse.take(identity, "/s/1", "/s", None, reuse.here)


async def test_what_a_job_has_left_is_put_into_the_directory_of_one_that_does_the_same(jobs, tmp_path):
    first = jobs.run()
    await left(first, jobs.identity("1", files=["out.txt"]))
    await first.close()
    second = jobs.run()
    assert await take(second, jobs.identity("2", "another")) is None
    found = await take(second, jobs.identity("3"))
    assert (found.run, found.job, found.output) == ("r1", "/s/0", "said")
    assert (tmp_path / "3/out.txt").read_text() == "out.txt"
    assert await take(second, jobs.identity("4")) is None, "each job of a run has a result of its own"
    await second.close()


async def test_what_was_reused_is_there_when_the_first_directory_is_gone(jobs, tmp_path):
    first = jobs.run()
    await left(first, jobs.identity("1", files=["out.txt"]))
    await first.close()
    second = jobs.run()
    await take(second, jobs.identity("2"))
    await second.close()
    (tmp_path / "1/out.txt").unlink()
    third = jobs.run()
    assert (await take(third, jobs.identity("3"))).run == "r2"
    await third.close()


async def test_a_result_whose_outputs_were_not_those_expected_is_not_taken_again(jobs):
    first = jobs.run()
    await left(first, jobs.identity("1"))
    await first.close()
    second = jobs.run()
    found = await take(second, one := jobs.identity("2"))
    second.forget(one.directory, found.origin)
    await second.close()
    third = jobs.run()
    assert await take(third, jobs.identity("3")) is None
    await third.close()


async def test_links_that_lead_elsewhere_make_no_result(jobs, tmp_path):
    for number, target in enumerate(["/etc/hostname", "../../x", "out.txt", str(tmp_path / "2/out.txt")]):
        reuse = jobs.run()
        identity = jobs.identity(str(number), f"echo {number}", files=["out.txt"])
        (tmp_path / str(number) / "link").symlink_to(target if number != 3 else tmp_path / "3/out.txt")
        await left(reuse, identity)
        await reuse.close()
        again = jobs.run()
        found = await take(again, jobs.identity(f"{number}-again", f"echo {number}"))
        assert (found is not None) == (number >= 2)
        await again.close()
    assert (tmp_path / "3-again/link").resolve() == tmp_path / "3-again/out.txt"


@pytest.mark.parametrize("spoil", ["text", "locked"])
async def test_jobs_run_where_results_can_not_be_read(jobs, tmp_path, monkeypatch, spoil, caplog):
    monkeypatch.setattr("streamflow_fluxop.reuse.results._TIMEOUT", 0.1)
    (tmp_path / "runs").mkdir()
    path, db = tmp_path / "runs/results.sqlite", None
    if spoil == "text":
        path.write_text("no database" * 100)
    else:
        db = sqlite3.connect(path)
        db.execute("BEGIN EXCLUSIVE")
    reuse = jobs.run()
    assert await take(reuse, jobs.identity("1")) is None
    await left(reuse, jobs.identity("2"))
    await reuse.close()
    assert "results.sqlite" in caplog.text
    if db is not None:
        db.close()
