import pytest
from cwl_worlds import needs_node, step, tool, workflow

from streamflow_fluxop.cwl import read_workflow
from streamflow_fluxop.errors import UserErrors
from streamflow_fluxop.model import Duration, Needs

HINT = "fluxop:FluxRequirement"
CUDA = {"cudaVersionMin": "11.0", "cudaComputeCapability": "3.0"}
JAVASCRIPT = {"InlineJavascriptRequirement": {}}


def needs_of(world, requirements=None, hints=None, version="v1.2", **inputs):
    return world.step(tool(requirements=requirements or {}, hints=hints or {}, version=version), **inputs).needs


@pytest.mark.parametrize(
    ("resources", "cores", "memory"),
    [
        ({}, 1, 256),
        ({"coresMin": 3, "ramMin": 1000}, 3, 1000),
        ({"coresMin": 1.25, "ramMin": 254.1}, 2, 255),
        ({"coresMax": 4, "ramMax": 2048}, 4, 2048),
        ({"coresMin": 2, "coresMax": 4}, 2, 256),
        ({"coresMin": 0}, 1, 256),
    ],
)
def test_cores_and_memory_are_streamflow_s(world, resources, cores, memory):
    needs = needs_of(world, {"ResourceRequirement": resources})
    assert (needs.cores_per_task, needs.memory) == (cores, memory)


def test_v1_0_has_its_own_default_of_memory(world):
    assert needs_of(world, version="v1.0").memory == 1024


@pytest.mark.parametrize(
    ("hint", "also", "expected"),
    [
        ({"tasks": 4}, {}, Needs(tasks=4, memory=256)),
        ({"nodes": 2}, {}, Needs(nodes=2, tasks=2, memory=256)),
        ({"tasks": 4}, {"ResourceRequirement": {"coresMin": 6}}, Needs(tasks=4, cores_per_task=2, memory=256)),
        (
            {"tasks": 4, "coresPerTask": 3},
            {"ResourceRequirement": {"coresMin": 6}},
            Needs(tasks=4, cores_per_task=3, memory=256),
        ),
        ({"tasks": 2}, {"cwltool:MPIRequirement": {"processes": 8}}, Needs(tasks=2, memory=256)),
        ({}, {"cwltool:MPIRequirement": {"processes": 8}}, Needs(tasks=8, memory=256)),
        ({"nodes": 2}, {"cwltool:MPIRequirement": {"processes": 8}}, Needs(nodes=2, tasks=8, memory=256)),
        ({}, {"cwltool:CUDARequirement": CUDA}, Needs(gpus_per_task=1, memory=256)),
        (
            {"tasks": 2},
            {"cwltool:CUDARequirement": {**CUDA, "cudaDeviceCountMin": 3}},
            Needs(tasks=2, gpus_per_task=2, memory=256),
        ),
        ({"gpusPerTask": 0}, {"cwltool:CUDARequirement": CUDA}, Needs(memory=256)),
        ({"gpusPerTask": 2, "exclusive": True}, {}, Needs(gpus_per_task=2, exclusive=True, memory=256)),
    ],
)
def test_the_hint_and_cwl_s_requirements_play_together(world, hint, also, expected):
    assert needs_of(world, also, {HINT: hint}) == expected


def test_tasks_that_can_not_reach_all_nodes_are_refused_with_their_place(world):
    with pytest.raises(UserErrors, match=r"main.cwl:\d+: requirements.MPIRequirement.processes: 2 tasks can't reach 4"):
        needs_of(world, {"cwltool:MPIRequirement": {"processes": 2}}, {HINT: {"nodes": 4}})


@needs_node
def test_an_expression_that_the_inputs_settle_counts(world):
    resources = {"coresMin": "$(inputs.x)", "ramMin": "$(inputs.x * 100)"}
    found = world.step(tool(requirements={"ResourceRequirement": resources, **JAVASCRIPT}), x=4)
    assert (found.needs.cores_per_task, found.needs.memory) == (4, 400)
    assert not found.run_time_needs


@needs_node
def test_the_size_of_an_input_file_settles_an_expression(world):
    world.write("reads.txt", "x" * 3000)
    resources = {"ramMin": "${ return Math.ceil(inputs.x.size / 1000) + 10; }"}
    found = world.step(
        tool(requirements={"ResourceRequirement": resources, **JAVASCRIPT}),
        x={"class": "File", "location": "reads.txt"},
    )
    assert found.needs.memory == 13


def test_an_expression_that_only_the_run_settles_is_marked_and_the_minimum_assumed(world):
    second = tool(requirements={"ResourceRequirement": {"coresMin": "$(inputs.x.size)", "ramMin": 77}})
    found = world.read(workflow("x", a=step(tool(), x="x"), b=step(second, x="a/o"))).steps["/b"]
    assert found.run_time_needs == {"cores"}
    assert (found.needs.cores_per_task, found.needs.memory) == (1, 77)
    assert found.asked.needs(cores=6, memory=99).cores_per_task == 6


def test_jobs_that_differ_are_marked_and_the_largest_need_planned(world):
    each = tool(requirements={"ResourceRequirement": {"coresMin": "$(inputs.x)"}})
    found = world.read(workflow("xs", a=step(each, x="xs", more={"scatter": "x"})), xs=[1, 5, 2]).steps["/a"]
    assert found.needs.cores_per_task == 5
    assert found.run_time_needs == {"cores"}


def test_the_job_s_own_hardware_goes_through_the_same_rules(world):
    found = world.step(tool(hints={HINT: {"tasks": 4}}))
    assert found.asked.needs(cores=10, memory=512) == Needs(tasks=4, cores_per_task=3, memory=512)


@pytest.mark.parametrize(
    ("docker", "image"),
    [
        ({"dockerPull": "a:1"}, "a:1"),
        ({"dockerImageId": "b"}, "b"),
        ({"dockerPull": "a:1", "dockerImageId": "b"}, "a:1"),
        ({"dockerFile": "FROM scratch"}, None),
    ],
)
def test_the_image_is_the_one_that_streamflow_takes(world, docker, image):
    found = world.step(tool(hints={"DockerRequirement": docker}))
    assert found.asked.image == image
    assert found.step().image == image


@pytest.mark.parametrize(
    ("hint", "limit", "expected"),
    [
        ({"duration": 30, "durationSpread": 5}, None, Duration(seconds=30, spread=5, source="hint")),
        ({"duration": 30}, 20, Duration(seconds=20, source="hint")),
        ({}, 20, Duration(seconds=20, source="time limit")),
        ({}, 0, Duration(seconds=60, source="assumed")),
        ({}, None, Duration(seconds=60, source="assumed")),
    ],
)
def test_a_duration_comes_from_the_hint_else_the_time_limit_else_it_is_assumed(world, hint, limit, expected):
    requirements = {} if limit is None else {"ToolTimeLimit": {"timelimit": limit}}
    assert world.step(tool(requirements=requirements, hints={HINT: hint})).duration == expected


def test_what_to_assume_can_be_chosen(world):
    assert read_workflow(world.write("t.cwl", tool()), assumed_duration=5).steps["/"].duration.seconds == 5


def test_inputs_can_bring_requirements(world):
    more = {"cwl:requirements": [{"class": "ResourceRequirement", "coresMin": 9}]}
    assert world.step(tool(), **more).needs.cores_per_task == 9
