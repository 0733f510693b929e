"""Logs are read while they grow, and after crashes."""

import threading

import pytest

from streamflow_fluxop import events
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events import EventLog
from streamflow_fluxop.events.reading import Follower, find_log, logs, newest_log, read_events, running_logs


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUXOP_RUNS", str(tmp_path))
    return tmp_path


@pytest.fixture
def log(runs):
    log = EventLog(runs / "20260101-120000-aaaa.jsonl")
    yield log
    log.close()


def test_a_torn_last_line_is_left_until_it_is_whole(log):
    log.record(events.JobStarted(job="a"))
    with log.path.open("rb+") as file:
        whole = file.read()
        file.truncate(len(whole) - 5)
    follower = Follower(log.path)
    assert [e.event for e in follower.new()] == ["run-started"]
    assert list(follower.new()) == []
    with log.path.open("ab") as file:
        file.write(whole[-5:])
    assert [e.event for e in follower.new()] == ["job-started"]


def test_every_cut_of_a_log_can_be_read(log):
    for number in range(3):
        log.record(events.JobStarted(job=f"job {number}"))
    whole = log.path.read_bytes()
    for end in range(len(whole)):
        log.path.write_bytes(whole[:end])
        assert len(list(read_events(log.path))) == whole[:end].count(b"\n")


def test_a_reader_beside_the_writer_sees_every_event_once(log):
    def write():
        for number in range(2000):
            log.record(events.JobStarted(job=str(number)))

    writer = threading.Thread(target=write)
    follower, seen = Follower(log.path), []
    writer.start()
    while writer.is_alive():
        seen += follower.new()
    writer.join()
    seen += follower.new()
    assert [e.job for e in seen[1:]] == [str(n) for n in range(2000)]


def test_several_fleets_write_into_one_log(log):
    for number in range(3):
        log.fleet(f"fleet{number % 2}")(events.JobStarted(job=str(number)))
    assert [e.deployment for e in list(read_events(log.path))[1:]] == ["fleet0", "fleet1", "fleet0"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"event": "job-started", "at": 1}', "job: Field required"),
        ('{"event": "coffee-made", "at": 1}', "no event that this version of fluxop knows"),
        ("Segmentation fault", "no event"),
    ],
)
def test_what_is_no_event_is_named_with_its_line(log, line, says):
    with log.path.open("a") as file:
        file.write(line + "\n")
    log.record(events.JobStarted(job="a"))
    with pytest.raises(UserError, match=says) as caught:
        list(read_events(log.path))
    assert str(caught.value).startswith(f"{log.path}:2:")


def test_a_file_that_begins_with_something_else_is_no_log(log):
    log.path.write_bytes(log.path.read_bytes().split(b"\n")[0].replace(b"run-started", b"x") + b"\n")
    with pytest.raises(UserError):
        list(read_events(log.path))
    with pytest.raises(UserError, match="can't be read"):
        list(read_events(log.path.with_name("none")))


def test_runs_are_found_by_id_by_its_beginning_and_by_path(runs, log):
    other = EventLog(runs / "20260102-120000-bbbb.jsonl")
    other.record(events.RunEnded(exit_code=0))
    other.close()
    assert [p.stem for p in logs()] == ["20260102-120000-bbbb", "20260101-120000-aaaa"]
    assert newest_log() == find_log("20260102") == find_log("20260102-120000-bbbb") == find_log(str(other.path))
    assert running_logs() == [log.path], "the other one is over"
    with pytest.raises(UserError, match="2 runs begin with '202601'"):
        find_log("202601")
    with pytest.raises(UserError, match="no run 'x'"):
        find_log("x")
    with pytest.raises(UserError, match="no such file"):
        find_log("x.jsonl")


def test_without_any_run_that_is_said(runs):
    with pytest.raises(UserError, match="there is no run in"):
        newest_log()
