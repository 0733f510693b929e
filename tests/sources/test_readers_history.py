"""Durations of past runs come from StreamFlow's own database, made here by StreamFlow's own schema."""

import json
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Duration, Step
from streamflow_fluxop.sources.history import default_database, read_history, with_history

COMPLETED, FAILED = 4, 5


class Database:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = sqlite3.connect(path)
        self._db.executescript(files("streamflow.persistence").joinpath("schemas/sqlite.sql").read_text())

    def run(self, cwl_file, **steps):
        """A run of a workflow; each step with its jobs' seconds, negative where the job failed."""
        params = json.dumps({"config": {"file": str(cwl_file)}})
        run = self._db.execute("INSERT INTO workflow(name, params) VALUES('x', ?)", (params,)).lastrowid
        for name, jobs in steps.items():
            step = self._db.execute("INSERT INTO step(name, workflow) VALUES(?, ?)", (f"/{name}", run)).lastrowid
            for index, seconds in enumerate(jobs):
                token = self._db.execute("INSERT INTO token(tag) VALUES(?)", (f"0.{index}",)).lastrowid
                status = COMPLETED if seconds >= 0 else FAILED
                self._db.execute(
                    "INSERT INTO execution(step, job_token, status, start_time, end_time) VALUES(?, ?, ?, 0, ?)",
                    (step, token, status, int(abs(seconds) * 1e9)),
                )
        self._db.commit()

    def close(self):
        self._db.close()


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "sqlite.db")
    yield database
    database.close()


def step(width=1, source="assumed", **fields):
    return Step(name="/a", width=width, duration=Duration(seconds=60, source=source), **fields)


def test_median_and_spread_of_all_past_jobs(database, tmp_path):
    database.run(tmp_path / "wf.cwl", a=[10])
    database.run(tmp_path / "wf.cwl", a=[20])
    database.run(tmp_path / "wf.cwl", a=[60])
    past = read_history(database.path, str(tmp_path / "wf.cwl"))
    (known,), jobs = with_history([step()], past, wins=False)
    assert known.duration == Duration(seconds=20, spread=26.458, source="history")
    assert jobs == 3


def test_runs_of_the_same_width_count_first(database, tmp_path):
    database.run(tmp_path / "wf.cwl", a=[10])
    database.run(tmp_path / "wf.cwl", a=[30, 40])
    past = read_history(database.path)["/a"]
    assert past.duration(2).seconds == 35
    assert past.duration(1).seconds == 10
    assert past.duration(7).seconds == 30


def test_failed_jobs_and_other_workflows_do_not_count(database, tmp_path):
    database.run(tmp_path / "wf.cwl", a=[10, -1])
    database.run(tmp_path / "other.cwl", a=[99])
    past = read_history(database.path, str(tmp_path / "wf.cwl"))
    assert past["/a"].of_width(1) == [10]
    assert read_history(database.path, str(tmp_path / "third.cwl")) == {}


@pytest.mark.parametrize(
    ("source", "wins", "seconds"), [("hint", False, 60), ("hint", True, 10), ("assumed", False, 10)]
)
def test_a_hint_holds_unless_the_user_names_the_database(database, source, wins, seconds):
    database.run("wf.cwl", a=[10])
    (known,), _ = with_history([step(source=source)], read_history(database.path), wins=wins)
    assert known.duration.seconds == seconds


def test_no_job_is_expected_to_exceed_its_time_limit(database):
    database.run("wf.cwl", a=[1000])
    (known,), _ = with_history([step(source="time limit")], read_history(database.path), wins=False)
    assert known.duration.seconds == 60


def test_steps_that_never_ran_and_controller_steps_stay_as_they_are(database):
    database.run("wf.cwl", a=[10])
    steps = [step(controller=True), Step(name="/b", duration=Duration(seconds=1))]
    assert with_history(steps, read_history(database.path), wins=True) == (steps, 0)


def test_the_database_is_where_the_streamflow_file_or_streamflow_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "sub" / "streamflow.yml"
    usual = default_database({}, file)
    assert usual.parent.parent == tmp_path / ".streamflow"
    assert usual.name == "sqlite.db"
    assert default_database({"database": {"config": {"connection": "runs.db"}}}, file) == tmp_path / "sub" / "runs.db"
    assert default_database({"database": {"config": {"connection": ":memory:"}}}, file) is None
    assert default_database({"database": {"type": "postgresql"}}, file) is None


def test_what_is_no_database_is_refused(tmp_path):
    empty = tmp_path / "empty.db"
    sqlite3.connect(empty).close()
    text = tmp_path / "text.db"
    text.write_text("hello" * 100)
    for path, message in ((empty, "no such table"), (text, "not a database"), (tmp_path / "none", "can't be read")):
        path.touch() if path == empty else None
        with pytest.raises(UserError, match=message):
            read_history(path)
