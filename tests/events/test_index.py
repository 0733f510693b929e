"""The index of past runs: jobs from start to end, MiniClusters from asked for to up, each log read once."""

import os
import sqlite3

import pytest

from streamflow_fluxop import events
from streamflow_fluxop.events import EventLog
from streamflow_fluxop.events import index as module
from streamflow_fluxop.events.index import Index
from streamflow_fluxop.model import Flavour, Needs

CPU = Flavour(cores=4, memory=8192, price=1)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Run:
    """An event log that is being written."""

    def __init__(self, folder, name, *, tools=(("/s", "s.cwl 1"),), simulated=False, workflows=None):
        self.clock = Clock()
        self.log = EventLog(folder / f"{name}.jsonl", file="/w/streamflow.yml", clock=self.clock, simulated=simulated)
        self.record = self.log.fleet("fleet")
        workflows = {"": "/w/wf.cwl"} if workflows is None else workflows
        self.record(events.FleetStarted(cluster="local", flavours={"cpu": CPU}, workflows=workflows, tools=dict(tools)))

    def job(self, seconds, *, name="/s/0", step="/s", queued=100.0, exit_code=0, size=None, **needs):
        asked = events.JobAsked.of(name, Needs(**needs), CPU, step, "a", size)
        for event, after in (
            (asked, queued),
            (events.JobStarted(job=name), seconds),
            (events.JobEnded(job=name, exit_code=exit_code), 0),
        ):
            self.record(event)
            self.clock.now += after

    def minicluster(self, up, down, *, image=None, name="m"):
        self.record(events.MiniClusterAsked(minicluster=name, flavour="cpu", size=1, image=image))
        self.clock.now += up
        self.record(events.MiniClusterUp(minicluster=name, seconds=up, nodes=1))
        self.clock.now += 50
        self.record(events.MiniClusterTearingDown(minicluster=name))
        self.clock.now += down
        self.record(events.MiniClusterGone(minicluster=name))


@pytest.fixture
def runs(tmp_path):
    made = []

    def run(name, **options):
        made.append(Run(tmp_path, name, **options))
        return made[-1]

    yield run
    for one in made:
        one.log.close()


@pytest.fixture
def index(tmp_path):
    index = Index(tmp_path)
    yield index
    index.close()


def test_jobs_count_from_start_to_end_and_only_those_that_succeeded(runs, index):
    run = runs("1")
    run.job(5, size=1000)
    run.job(7, name="/s/1", cores_per_task=2)
    run.job(900, exit_code=1)
    assert index.update() == 0
    found = index.steps("/w/wf.cwl")
    assert [(p.step, p.tool, p.needs, p.sample) for p in found] == [
        ("/s", "s.cwl 1", (1, 1, 0), ((5.0, 1000),)),
        ("/s", "s.cwl 1", (1, 2, 0), ((7.0, None),)),
    ]


def test_the_same_tool_is_found_in_other_workflows(runs, index):
    runs("1", workflows={"": "/w/other.cwl"}).job(5)
    index.update()
    assert index.steps("/w/wf.cwl") == []
    assert [p.workflow for p in index.steps("/w/wf.cwl", tools=["s.cwl 1"])] == ["/w/other.cwl"]


def test_a_log_that_names_no_workflow_is_known_by_its_streamflow_file(runs, index):
    runs("1", workflows={}, tools=()).job(5)
    index.update()
    assert len(index.steps("/w/wf.cwl", "/w/streamflow.yml")) == 1
    assert index.steps("/w/wf.cwl", "/elsewhere/streamflow.yml") == []


def test_of_several_workflows_each_has_its_own_steps(runs, index):
    run = runs("1", workflows={"one": "/w/one.cwl", "two": "/w/two.cwl"}, tools=())
    run.job(5, step="one/s")
    run.job(9, step="two/s")
    index.update()
    assert [(p.step, p.sample[0][0]) for p in index.steps("/w/two.cwl")] == [("/s", 9.0)]


def test_simulated_runs_do_not_count(runs, index):
    run = runs("1", simulated=True)
    run.job(5)
    run.minicluster(3, 1)
    index.update()
    assert index.steps("/w/wf.cwl") == []
    assert index.lives("local", "cpu", [None]) == []


def test_bring_ups_are_known_by_cluster_flavour_and_image(runs, index):
    run = runs("1")
    run.minicluster(3, 1)
    run.minicluster(30, 10, image="busybox")
    index.update()
    assert [(life.up, life.down) for life in index.lives("local", "cpu", [None])] == [(3, pytest.approx(1))]
    assert [life.up for life in index.lives("local", "cpu", ["busybox"])] == [30]
    assert index.lives("kubernetes", "cpu", [None]) == []


def test_a_log_is_read_again_only_where_it_has_grown(runs, index, monkeypatch):
    run, read = runs("1"), []
    run.job(5)
    original = module._read
    monkeypatch.setattr(module, "_read", lambda path: read.append(path.name) or original(path))
    index.update()
    index.update()
    assert read == ["1.jsonl"]
    run.job(6)
    index.update()
    assert read == ["1.jsonl"] * 2
    assert [p.jobs for p in index.steps("/w/wf.cwl")] == [2]


def test_old_logs_in_great_number_are_read_bit_by_bit_the_newest_first(runs, index):
    for n in range(4):
        runs(str(n)).job(5)
    size = os.path.getsize(index.folder / "3.jsonl")
    assert index.update(size + module.OVERHEAD + size // 2) == 3
    assert [p.log for p in index.steps("/w/wf.cwl")] == ["3.jsonl"]
    assert index.update(None) == 0
    assert [p.log for p in index.steps("/w/wf.cwl")] == ["3.jsonl", "2.jsonl", "1.jsonl", "0.jsonl"]


def test_what_is_gone_is_forgotten(runs, index):
    runs("1").job(5)
    index.update()
    (index.folder / "1.jsonl").unlink()
    index.update()
    assert index.steps("/w/wf.cwl") == []


def test_of_very_many_jobs_some_are_kept(runs, index):
    run = runs("1")
    for n in range(3 * module.SAMPLE):
        run.job(n, queued=0)
    index.update()
    (row,) = index.steps("/w/wf.cwl")
    assert (row.jobs, len(row.sample)) == (3 * module.SAMPLE, module.SAMPLE)
    assert row.sample[-1][0] > 2.9 * module.SAMPLE


@pytest.mark.parametrize("damage", [b"no database at all" * 100, None], ids=["garbage", "another version"])
def test_a_damaged_index_is_made_anew(runs, tmp_path, damage):
    runs("1").job(5)
    if damage:
        (tmp_path / module.NAME).write_bytes(damage)
    else:
        db = sqlite3.connect(tmp_path / module.NAME)
        db.execute("PRAGMA user_version = 99")
        db.close()
    index = Index(tmp_path)
    index.update()
    assert len(index.steps("/w/wf.cwl")) == 1
    index.close()


def test_a_damaged_log_is_passed_over(runs, index):
    runs("2").job(5)
    (index.folder / "1.jsonl").write_text('{"at": 0, "event":"run-started", oh dear\n')
    assert index.update() == 0
    assert [p.log for p in index.steps("/w/wf.cwl")] == ["2.jsonl"]


def test_the_index_is_as_private_as_the_logs(index):
    assert (index.folder / module.NAME).stat().st_mode & 0o777 == 0o600


def test_without_a_folder_nothing_is_known(tmp_path):
    index = Index(tmp_path / "nowhere")
    assert index.update() == 0
    assert index.steps("/w/wf.cwl") == []
    index.close()
