import pytest
from cwl_worlds import after, expression_tool, needs_node, step, tool, workflow

from streamflow_fluxop.cwl import UnreadableCWL, read_workflow


def test_a_tool_run_alone_is_the_step_that_streamflow_calls_by_a_slash(world):
    assert list(world.read(tool()).steps) == ["/"]


def test_steps_come_in_the_order_of_the_documents(world):
    read = world.read(
        workflow(
            "x",
            c=step(tool(), x="b/o"),
            b=step(workflow("x", {"o": "z/o"}, y=step(tool(), x="z/o"), z=step(tool(), x="x")), x="a/o"),
            a=step(tool(), x="x"),
        )
    )
    assert list(read.steps) == ["/c", "/b/y", "/b/z", "/a"]


def test_dependencies_pass_through_the_walls_of_subworkflows(world):
    inner = workflow("x", {"o": "last/o"}, first=step(tool(), x="x"), last=step(tool(), x="first/o"))
    read = world.read(workflow("x", a=step(tool(), x="x"), sub=step(inner, x="a/o"), b=step(tool(), x="sub/o")))
    assert after(read) == {"/a": [], "/sub/first": ["/a"], "/sub/last": ["/sub/first"], "/b": ["/sub/last"]}


def test_a_workflow_output_that_is_an_input_waits_for_whoever_made_it(world):
    passing = workflow("x y", {"o": "x"}, other=step(tool(), x="y"))
    read = world.read(
        workflow("x", a=step(tool(), x="x"), sub=step(passing, x="a/o", y="x"), b=step(tool(), x="sub/o"))
    )
    assert after(read)["/b"] == ["/a"]


def test_an_expression_tool_is_a_step_of_the_controller(world):
    read = world.read(
        workflow("x", a=step(tool(), x="x"), e=step(expression_tool("$({o: 1})"), x="a/o"), b=step(tool(), x="e/o"))
    )
    assert after(read) == {"/a": [], "/e": ["/a"], "/b": ["/e"]}
    assert read.steps["/e"].step().controller
    assert not read.steps["/b"].step().controller


def test_in_a_scattered_subworkflow_a_job_waits_for_its_own_predecessor_alone(world):
    inner = workflow("x", {"o": "b/o"}, a=step(tool(), x="x"), b=step(tool(), x="a/o"))
    read = world.read(
        workflow("xs", sub=step(inner, x="xs", more={"scatter": "x"}), end=step(tool(), x="sub/o")), xs=[1, 2, 3]
    )
    assert [(d.step, d.each) for d in read.steps["/sub/b"].after] == [("/sub/a", True)]
    assert [(d.step, d.each) for d in read.steps["/end"].after] == [("/sub/b", False)]


def test_between_two_scatters_all_jobs_wait_for_all(world):
    scattered = {"scatter": "x"}
    read = world.read(
        workflow("xs", a=step(tool(), x="xs", more=scattered), b=step(tool(), x="a/o", more=scattered)), xs=[1, 2]
    )
    assert [(d.step, d.each) for d in read.steps["/b"].after] == [("/a", False)]


def test_a_step_that_scatters_inside_a_scatter_waits_for_all(world):
    inner = workflow(
        "x y", {"o": "b/o"}, a=step(tool(), x="x"), b=step(tool("x", "y"), x="a/o", y="y", more={"scatter": "y"})
    )
    read = world.read(workflow("x y", sub=step(inner, x="x", y="y", more={"scatter": "x"})), x=[1, 2, 3], y=[1, 2])
    assert [(d.step, d.each) for d in read.steps["/sub/b"].after] == [("/sub/a", False)]


@pytest.mark.parametrize("gate", [{"scatter": "x"}, {"when": "$(inputs.x == 1)"}])
def test_a_scatter_and_a_condition_wait_for_all_inputs_of_their_step(world, gate):
    inner = workflow("x y", a=step(tool(), x="x"))
    read = world.read(
        workflow("x", late=step(tool(), x="x"), sub=step(inner, x="x", y="late/o", out=(), more=gate)), x=[1]
    )
    assert after(read)["/sub/a"] == ["/late"]


def test_without_a_gate_an_inner_step_waits_for_what_it_reads_alone(world):
    inner = workflow("x y", a=step(tool(), x="x"))
    read = world.read(workflow("x", late=step(tool(), x="x"), sub=step(inner, x="x", y="late/o", out=())))
    assert after(read)["/sub/a"] == []


def test_several_sources_are_all_waited_for(world):
    read = world.read(workflow("x", a=step(tool(), x="x"), b=step(tool(), x="x"), c=step(tool(), x=["a/o", "b/o"])))
    assert after(read)["/c"] == ["/a", "/b"]


@needs_node
@pytest.mark.parametrize(
    ("condition", "inputs", "jobs", "maybe"),
    [
        ("$(inputs.x > 1)", {"x": 2}, 1, False),
        ("$(inputs.x > 1)", {"x": 1}, 0, False),
        ("$(inputs.x > 1)", {}, 1, True),
        ("$(inputs.x !== null)", {"x": {"class": "File", "location": "some"}}, 1, False),
        ("$(inputs.x === null)", {"x": {"class": "File", "location": "some"}}, 0, False),
        ("$(inputs.x.contents == 'a')", {"x": {"class": "File", "location": "some"}}, 1, True),
    ],
)
def test_a_step_with_a_condition_runs_never_perhaps_or_surely(world, condition, inputs, jobs, maybe):
    found = world.read(workflow("x", a=step(tool(), x="x", more={"when": condition})), **inputs).steps["/a"]
    assert (found.jobs, found.may_be_skipped) == (jobs, maybe)
    assert found.step().controller == (jobs == 0)


def test_what_may_be_skipped_around_a_step_may_be_skipped_inside(world):
    inner = workflow("x", a=step(tool(), x="x"))
    read = world.read(workflow("x", sub=step(inner, x="x", out=(), more={"when": "$(inputs.x)"})))
    assert read.steps["/sub/a"].may_be_skipped


def loop(run, when="$(inputs.i < 10)"):
    requirement = {"class": "cwltool:Loop", "loopWhen": when, "loop": {"i": "o"}, "outputMethod": "last"}
    return step(run, i="i", more={"requirements": [requirement]})


@needs_node
def test_a_loop_is_told_and_its_later_rounds_are_unknown(world):
    needs = {"ResourceRequirement": {"coresMin": "$(inputs.i)"}}
    found = world.read(workflow("i", l=loop(tool("i", requirements=needs))), i=3).steps["/l"]
    assert found.loops == ("/l",)
    assert not found.may_be_skipped
    assert found.run_time_needs == {"cores"}


def test_a_loop_with_a_condition_that_is_false_may_be_skipped(world):
    assert world.read(workflow("i", l=loop(tool("i"))), i=30).steps["/l"].may_be_skipped


def test_whether_a_tool_gives_stderr_a_place_is_known(world):
    assert world.step(tool(stderr="err")).stderr_declared
    assert not world.step(tool()).stderr_declared


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("cwlVersion: v1.2\nclass: Workflow", "main.cwl.*`inputs`"),
        ("cwlVersion: v9.9\nclass: Workflow", "main.cwl.*v9.9"),
        ("{", "main.cwl"),
        ("- a", "main.cwl"),
        (workflow("x", a=step("nowhere.cwl", x="x")), "nowhere.cwl"),
        (workflow("x", a=step(tool(), x="b/o"), b=step(tool(), x="a/o")), "wait for each other: .*a.*b"),
        (workflow("x", a=step(tool(), x="y")), "main.cwl"),
        (workflow("x", a=step(tool(), x="x", more={"scatter": "z"})), "main.cwl"),
        (workflow("x", a=step("main.cwl", x="x")), "runs itself"),
    ],
)
def test_what_can_not_be_read_as_cwl_is_an_error_of_its_own(world, document, says):
    with pytest.raises(UnreadableCWL, match=f"(?s){says}"):
        world.read(document)


@pytest.mark.parametrize("inputs", ["nowhere.yml", "list.yml"])
def test_inputs_that_can_not_be_read_are_named(world, inputs):
    world.write("list.yml", "[1, 2]")
    with pytest.raises(UnreadableCWL, match=inputs):
        read_workflow(world.write("main.cwl", tool()), inputs)


def test_a_document_that_is_not_there_is_told_as_a_file_that_is_not_there(world):
    path = world.write("main.cwl", workflow(a={"run": "modules/gone.cwl", "in": {}, "out": []}))
    with pytest.raises(UnreadableCWL, match=r"main.cwl:\d+: .*steps.a.run: there is no .*modules/gone.cwl"):
        read_workflow(str(path))


def test_a_packed_document_without_main_says_what_to_write(world):
    tool = {"class": "CommandLineTool", "baseCommand": "true", "inputs": [], "outputs": []}
    packed = {"cwlVersion": "v1.2", "$graph": [{**tool, "id": "mosaic"}, {**tool, "id": "tile"}]}
    path = world.write("packed.cwl", packed)
    with pytest.raises(UnreadableCWL, match=r"none is called main: #mosaic, #tile\n.*`file: packed.cwl#mosaic`"):
        read_workflow(str(path))
    assert read_workflow(f"{path}#tile").steps


def test_every_process_of_a_packed_document_can_be_read(world):
    packed = {
        "cwlVersion": "v1.2",
        "$graph": [
            {**workflow("x", a=step("#other", x="x")), "id": "main"},
            {**tool(requirements={"ResourceRequirement": {"coresMin": 3}}), "id": "other"},
        ],
    }
    path = world.write("packed.cwl", packed)
    assert list(read_workflow(path).steps) == ["/a"]
    assert read_workflow(f"{path}#other").steps["/"].needs.cores_per_task == 3


def test_the_document_has_every_step(world):
    read = world.read(workflow("x", a=step(tool(), x="x"), b=step(tool(), x="a/o")))
    assert [s.name for s in read.workflow.steps] == ["/a", "/b"]
    assert read.workflow.steps[1].after[0].step == "/a"


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        ("{main: {class: Workflow}}", r"main.cwl:2: \$graph: is no list of processes"),
        ("[{class: Operation}]", r"main.cwl:2: \$graph\[0\]: the process has no `id`"),
        ("[{id: a, class: Operation, inputs: [], outputs: []}, {id: a, class: Operation}]", "second process `a`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_packed_document_is_said(world, graph, says):
    with pytest.raises(UnreadableCWL, match=says):
        read_workflow(world.write("main.cwl", f"cwlVersion: v1.2\n$graph: {graph}\n"))


@pytest.mark.parametrize(
    ("requirement", "says"),
    [
        ("ScatterRequirement: {}", "there is no requirement `ScatterRequirement` here: did you mean `ScatterFeature"),
        ("EnvVarRequirement: {envDef: {A: 5}}", "EnvVarRequirement: envDef.envValue: is a whole number, and must"),
        ("ResourceRequirement: {coreMin: 1}", "there is no field `coreMin` here: did you mean `coresMin`"),
    ],
)
def test_a_wrong_requirement_is_named(world, requirement, says):
    text = f"cwlVersion: v1.2\nclass: Operation\nrequirements:\n  {requirement}\ninputs: []\noutputs: []\n"
    with pytest.raises(UnreadableCWL, match=rf"(?s)main.cwl:4.*{says}"):
        read_workflow(world.write("main.cwl", text))
