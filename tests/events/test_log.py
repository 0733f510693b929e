"""The event log: whole lines, on one clock, that a schema describes."""

import json

import jsonschema
import pytest

from streamflow_fluxop import events
from streamflow_fluxop.errors import UserError
from streamflow_fluxop.events import EventLine, EventLog
from streamflow_fluxop.events.reading import read_events
from streamflow_fluxop.model import Flavour
from streamflow_fluxop.sources.schemas import schema

CPU = Flavour(cores=4, memory=8192, price=1)

HAPPENINGS = [
    events.FleetStarted(flavours={"cpu": CPU}),
    events.MiniClusterAsked(minicluster="a", flavour="cpu", size=2, max_size=4, image="busybox", reason="1 job waits"),
    events.MiniClusterProgress(minicluster="a", message="1 of 2 pods run"),
    events.MiniClusterNodes(minicluster="a", nodes=2),
    events.MiniClusterUp(minicluster="a", seconds=3.5, nodes=2, backend="Flux 0.88.0"),
    events.MiniClusterResizing(minicluster="a", size=4, reason="a wide step"),
    events.MiniClusterResized(minicluster="a", size=3, reason="no node is left"),
    events.JobAsked(job="/s/0", step="/s", minicluster="a", nodes=1, cores=2, gpus=0),
    events.JobSubmitted(job="/s/0", minicluster="a"),
    events.JobsWait(
        minicluster="a", jobs=2, idle=1, job="/s/0", reason="reserved", kept_for="/t", expected_in=5.0, message="kept"
    ),
    events.JobStarted(job="/s/0"),
    events.JobEnded(job="/s/0", exit_code=1, reason="time limit of 5 s exceeded"),
    events.JobReused(job="/s/1", run="20261128-1", of="/s/1", seconds=2.5),
    events.ImageGot(image="debian", source="docker.io", engine="podman", digest="sha256:1", fetched=True, seconds=3.0),
    events.MiniClusterLost(minicluster="a", reason="its lead broker ended"),
    events.MiniClusterTearingDown(minicluster="a", reason="to clear away what is left of it"),
    events.MiniClusterGone(minicluster="a"),
    events.Forecast(cost=1.5, makespan=70.0),
    events.ForecastPassed(what="budget", forecast=1.5, allowed=1.2, message="it will cost 1.5"),
    events.BudgetReached(cost=1.1, budget=1.2, reason="the budget is spent"),
    events.FleetEnded(miniclusters=1, node_seconds=30, cost=0.01),
    events.RunEnded(exit_code=1, reason="a job failed"),
]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(tmp_path, clock):
    log = EventLog(tmp_path / "runs" / "one.jsonl", file="streamflow.yml", clock=clock)
    yield log
    log.close()


def lines(log):
    return log.path.read_text().splitlines()


def test_what_is_recorded_is_read_again(log, clock):
    record = log.fleet("fleet")
    for happening in HAPPENINGS:
        clock.now += 0.5
        record(happening) if "deployment" in type(happening).model_fields else log.record(happening)
    read = [EventLine.model_validate_json(line).root for line in lines(log)]
    assert read[0].run == "one"
    assert read[0].file == "streamflow.yml"
    for number, (event, happening) in enumerate(zip(read[1:], HAPPENINGS, strict=True), 1):
        of_fleet = {"deployment": "fleet"} if "deployment" in type(happening).model_fields else {}
        assert event == happening.model_copy(update={"at": number * 0.5, **of_fleet})


def test_every_kind_of_event_is_tried_here():
    assert {type(h) for h in HAPPENINGS} | {events.RunStarted} == set(events.Event.__args__)


def test_the_schema_takes_every_line(log):
    for happening in HAPPENINGS:
        log.record(happening)
    validator = jsonschema.Draft202012Validator(schema("events"))
    for line in lines(log):
        validator.validate(json.loads(line))
    assert not validator.is_valid({"at": 0, "event": "minicluster-gone"})


def test_a_log_never_writes_over_another(log):
    with pytest.raises(FileExistsError):
        EventLog(log.path)


def test_a_full_disk_ends_the_log_and_not_the_run(log, monkeypatch, caplog):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    log.record(events.RunEnded())
    monkeypatch.undo()
    log.record(events.RunEnded())
    assert len(lines(log)) == 1
    assert "No space left on device" in caplog.text


@pytest.mark.parametrize(
    ("number", "line", "told"),
    [
        (3, "", "one.jsonl:3: no event"),
        (2, None, "one.jsonl:2: the log is damaged: the fleet fleet has no flavour cpu"),
        (
            4,
            '{"at": -0, "deployment": "fleet", "event": "minicluster-progress", "minicluster": "a", "message": "x"}',
            "one.jsonl:4: the log is damaged: it is at 0 s, and the event before it at 1 s",
        ),
    ],
)
def test_a_damaged_log_says_where(log, clock, number, line, told):
    record = log.fleet("fleet")
    for happening in HAPPENINGS:
        record(happening)
        clock.now += 1
    text = lines(log)
    text[number - 1 : number] = [] if line is None else [line]
    log.path.write_text("\n".join(text) + "\n")
    with pytest.raises(UserError) as error:
        list(read_events(log.path))
    assert told in str(error.value)
