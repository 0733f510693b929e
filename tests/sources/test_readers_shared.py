"""What is read once and shared is what stands in the document."""

import json
from random import Random

import pytest

from streamflow_fluxop.errors import UserErrors
from streamflow_fluxop.model import Dependency, Problem, to_json
from streamflow_fluxop.sources import read
from streamflow_fluxop.sources.own_documents import read_plan
from streamflow_fluxop.sources.shared import LONG, decode

FLAVOURS = {"cpu": {"cores": 4, "memory": 8192}}
ODD = ['a","each":false},{"step":"b0', 'c0","each":false}', "d\\0", "ü0", "e]", '"', "0", "f0}"]


def document(lists, **more):
    names = list(dict.fromkeys(d["step"] for after in lists for d in after))
    steps = [{"name": name, "duration": {"seconds": 1}} for name in names]
    steps += [
        {"name": f"last {i}", "duration": {"seconds": 1}, "needs": {"cores_per_task": 1 + i % 2}, "after": after}
        for i, after in enumerate(lists)
    ]
    return {"workflow": {"steps": steps}, "flavours": FLAVOURS, **more}


def waits(*names, each=False):
    return [{"step": name, "each": each} for name in names]


def written(tmp_path, content, indent=None):
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False))
    return path


def problem_of(path):
    return read(workflow=path)[0].problem


@pytest.mark.parametrize("indent", [None, 2, 0])
@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_names_and_the_layout(tmp_path, seed, indent):
    rng = Random(seed)
    many = [f"step-{i:03}" for i in range(300)]
    lists = []
    for _ in range(12):
        begin = rng.randrange(200)
        own = waits(*many[begin : begin + rng.choice([3, 50, 100])], each=rng.random() < 0.3)
        for odd in rng.sample(ODD, rng.choice([0, 0, 1, 3])):
            own.insert(rng.randrange(len(own)), {"step": odd} if rng.random() < 0.5 else {"each": True, "step": odd})
        lists.append(own)
    content = document(lists)
    assert decode(json.dumps(content).encode()) is not None
    assert problem_of(written(tmp_path, content, indent)) == Problem.model_validate(content)


def test_steps_that_wait_for_the_same_share_it(tmp_path):
    many = [f"step-{i:03}" for i in range(300)]
    lists = [waits(*many), waits(*many), waits(*many[7:]), waits("step-003")]
    *_, one, two, three, last = problem_of(written(tmp_path, document(lists))).workflow.steps
    assert one.after is two.after
    assert [d.step for d in three.after] == many[7:]
    assert len({id(p) for p in one.after.parts} & {id(p) for p in three.after.parts}) == len(one.after.parts) - 2
    assert one.after[3] is last.after[0]
    assert one.needs is three.needs


def test_a_plan_shares_what_its_problem_says(tmp_path):
    from streamflow_fluxop.planning import solve

    many = [f"step-{i:03}" for i in range(100)]
    assert len(json.dumps(waits(*many))) > LONG
    plan = solve(problem_of(written(tmp_path, document([waits(*many), waits(*many)]))), strategy="per-step")
    path = tmp_path / "plan.json"
    path.write_bytes(to_json(plan))
    assert path.read_text() == plan.model_dump_json()
    again = read_plan(path)
    assert again == plan
    one, two = again.problem.workflow.steps[-2:]
    assert one.after is two.after
    assert one.after[0] == Dependency(step="step-000")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepp": "step-050"}, "workflow.steps[300].after[50].stepp: unknown key 'stepp'\n  Did you mean 'step'?"),
        ({"each": 7}, "workflow.steps[300].after[50].each: 7"),
        ({"step": 7}, "workflow.steps[300].after[50].step: 7 is not text"),
    ],
)
def test_what_is_wrong_in_a_long_list_has_its_place(tmp_path, change, message):
    lists = [waits(*(f"step-{i:03}" for i in range(300)))]
    content = document(lists)
    lists[0][50].update(change)
    with pytest.raises(UserErrors) as error:
        problem_of(written(tmp_path, content, indent=2))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        b'{"workflow": {"steps": [{',
        b'{"tasks": []}',
        b"[]",
        b'{"name": "a", "steps": [{"needs": {"nodes": -1}}]}',
        b'{"name": "a", "steps": [{"after": [{"stepp": "b"}]}]}',
    ],
)
def test_what_is_no_document_of_ours_is_left_to_others(text):
    assert decode(text) is None
