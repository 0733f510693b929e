"""Traces of WfCommons: every version, every way to name parents."""

import json

import pytest

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.sources import read


def new_trace(tasks, ran):
    return {
        "name": "trace",
        "schemaVersion": "1.5",
        "workflow": {
            "specification": {"tasks": tasks, "files": []},
            "execution": {"makespanInSeconds": 9, "executedAt": "now", "tasks": ran, "machines": []},
        },
    }


def task(key, parents=(), children=(), **fields):
    return {"name": f"tool_{key}", "id": key, "parents": list(parents), "children": list(children), **fields}


@pytest.fixture
def read_trace(tmp_path):
    flavours = tmp_path / "flavours.yml"
    flavours.write_text("flavours: {cpu: {cores: 8, memory: 8192}}\n")

    def read_trace(trace):
        path = tmp_path / "trace.json"
        path.write_text(json.dumps(trace, indent=1))
        (source,) = read(workflow=path, flavours=flavours)
        return source, {s.name: s for s in source.problem.workflow.steps}

    return read_trace


def test_specification_and_execution_meet_by_id(read_trace):
    ran = [
        {"id": "1", "runtimeInSeconds": 12.5, "coreCount": 4, "memoryInBytes": 3 * 2**20 + 1},
        {"id": "2", "runtimeInSeconds": 0, "coreCount": 1.0, "avgCPU": 93.1},
    ]
    source, steps = read_trace(new_trace([task("1", children=["2"]), task("2", ["1"])], ran))
    one, two = steps["tool_1"], steps["tool_2"]
    assert (one.duration.seconds, one.needs.cores_per_task, one.needs.memory) == (12.5, 4, 4)
    assert two.duration.seconds == 0
    assert [d.step for d in two.after] == ["tool_1"]
    assert source.title == "trace"
    assert source.notes == ()


def test_children_alone_order_too(read_trace):
    _, steps = read_trace(new_trace([task("1", children=["2"]), task("2")], []))
    assert [d.step for d in steps["tool_2"].after] == ["tool_1"]


def test_tasks_with_equal_names_are_told_apart_by_id(read_trace):
    tasks = [{**task("1"), "name": "sort"}, {**task("2", ["1"]), "name": "sort"}]
    _, steps = read_trace(new_trace(tasks, []))
    assert set(steps) == {"1", "2"}


def test_what_never_ran_is_assumed_and_said(read_trace):
    source, steps = read_trace(new_trace([task("1"), task("2")], [{"id": "1", "runtimeInSeconds": 5}]))
    assert steps["tool_2"].duration.source == "assumed"
    assert "1 of 2 tasks" in source.notes[0]


def test_older_versions_have_all_in_the_task_and_parents_by_name(read_trace):
    tasks = [
        {"name": "a", "runtime": 3, "cores": 2, "parents": [], "children": ["b"]},
        {"name": "b", "runtimeInSeconds": 4, "memory": 2**20, "parents": ["a"], "children": []},
    ]
    _, steps = read_trace({"name": "old", "schemaVersion": "1.4", "workflow": {"tasks": tasks}})
    assert (steps["a"].duration.seconds, steps["a"].needs.cores_per_task) == (3, 2)
    assert (steps["b"].duration.seconds, steps["b"].needs.memory) == (4, 1)
    assert [d.step for d in steps["b"].after] == ["a"]


@pytest.mark.parametrize(
    ("tasks", "ran", "message"),
    [
        ([task("1", ["9"])], [], r"trace.json:10: .*tasks\[0\].parents: 9 is no task of the trace"),
        ([task("1"), task("1")], [], r"tasks\[1\]: two tasks are called 1"),
        ([{"id": "1"}], [], r"tasks\[0\]: the key 'name' is missing"),
        ([task("1")], [{"id": "1", "runtimeInSeconds": -1}], r"execution.tasks\[0\]"),
    ],
)
def test_a_broken_trace_is_refused_with_the_place(read_trace, tasks, ran, message):
    with pytest.raises(UserError, match=message):
        read_trace(new_trace(tasks, ran))
