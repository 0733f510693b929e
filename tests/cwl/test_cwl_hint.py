import json
import re
from pathlib import Path

import pytest
from cwl_worlds import step, tool, workflow

from streamflow_fluxop.cwl import hint_schema, read_workflow
from streamflow_fluxop.errors import UserError, UserErrors

HINT = "fluxop:FluxRequirement"


def hinted(**fields):
    return {HINT: fields}


def test_the_most_specific_place_wins_field_by_field(world):
    inner = tool(hints=hinted(tasks=4, group="tool"))
    outer = step(inner, x="x", more={"hints": hinted(group="step", coresPerTask=2)})
    read = world.read(workflow("x", a=outer, more={"hints": hinted(group="workflow", coresPerTask=9, flavour="cpu")}))
    hint = read.steps["/a"].asked.hint
    assert (hint.tasks, hint.group, hint.coresPerTask, hint.flavours) == (4, "tool", 2, ["cpu"])


def test_a_subworkflow_hands_it_on(world):
    inner = workflow("x", a=step(tool(), x="x"), more={"hints": hinted(group="inner")})
    read = world.read(workflow("x", sub=step(inner, x="x", out=()), more={"hints": hinted(flavour=["a", "b"])}))
    assert read.steps["/sub/a"].step().group == "inner"
    assert read.steps["/sub/a"].step().flavours == ["a", "b"]


@pytest.mark.parametrize(
    ("namespaces", "kind"),
    [
        ({"fluxop": "urn:fluxop:"}, "fluxop:FluxRequirement"),
        ({"f": "urn:fluxop:"}, "f:FluxRequirement"),
        ({}, "urn:fluxop:FluxRequirement"),
        ({}, "fluxop:FluxRequirement"),
    ],
)
@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_it_is_found_under_any_prefix_and_form(world, namespaces, kind, as_list, packed):
    hints = [{"class": kind, "tasks": 4}] if as_list else {kind: {"tasks": 4}}
    document = {**tool(hints=hints), "$namespaces": namespaces, "id": "main"}
    if packed:
        document = {"cwlVersion": "v1.2", "$namespaces": namespaces, "$graph": [document]}
        del document["$graph"][0]["$namespaces"]
    assert world.step(document).needs.tasks == 4


def test_a_packed_document_keeps_cwltool_s_extensions(world):
    cuda = {"cudaVersionMin": "11.0", "cudaComputeCapability": "3.0", "cudaDeviceCountMin": 2}
    main = {**tool(hints={"cwltool:CUDARequirement": cuda}), "id": "main"}
    namespaces = main.pop("$namespaces")
    assert world.step({"cwlVersion": "v1.2", "$namespaces": namespaces, "$graph": [main]}).needs.gpus_per_task == 2


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"task": 4}, "task", "no field 'task'\n  Did you mean tasks?"),
        ({"zzz": 4}, "zzz", "no field 'zzz'\n  It knows nodes, tasks"),
        ({"tasks": 0}, "tasks", "0 is not a whole number of at least 1"),
        ({"tasks": "4"}, "tasks", '"4" is not a whole number'),
        ({"tasks": 1.5}, "tasks", "1.5 is not a whole number"),
        ({"tasks": True}, "tasks", "true is not a whole number"),
        ({"gpusPerTask": -1}, "gpusPerTask", "-1 is not a whole number of at least 0"),
        ({"exclusive": "yes"}, "exclusive", '"yes" is not true or false'),
        ({"flavour": []}, "flavour", r"\[\] is not the name of a flavour, or a list of names"),
        ({"flavour": [1]}, "flavour", "not the name of a flavour"),
        ({"duration": "5m"}, "duration", '"5m" is not a number of seconds'),
        ({"duration": -5}, "duration", "-5 is not a number of seconds"),
        ({"group": "With Space"}, "group", "not a name: small letters"),
    ],
)
def test_a_mistake_names_file_line_step_field_and_what_would_be_right(world, fields, field, says):
    world.write("tool.cwl", tool(hints=hinted(**fields)))
    with pytest.raises(UserErrors, match=says) as caught:
        world.read(workflow("x", a=step("tool.cwl", x="x")))
    line = next(i for i, text in enumerate(Path("tool.cwl").read_text().splitlines(), 1) if f'"{field}"' in text)
    assert str(caught.value).startswith(f"tool.cwl:{line}: step /a: hints.{HINT}.{field}: ")


def test_fewer_tasks_than_nodes_are_refused(world):
    with pytest.raises(UserErrors, match="2 tasks can't reach 3 nodes"):
        world.step(tool(hints=hinted(nodes=3, tasks=2)))


def test_all_mistakes_come_at_once(world):
    both = workflow("x", a=step(tool(hints=hinted(tasks=0, nope=1)), x="x"), more={"hints": hinted(nodes=-1)})
    with pytest.raises(UserErrors) as caught:
        world.read(both)
    assert len(caught.value.errors) == 3


@pytest.mark.parametrize(
    ("namespaces", "kind", "says"),
    [
        (
            {"fluxop": "urn:fluxop:"},
            "fluxop:FluxRequirements",
            "no hint fluxop:FluxRequirements\n.*fluxop:FluxRequirement",
        ),
        ({"fluxop": "https://example.org/"}, "fluxop:FluxRequirement", "another namespace than ours\n.*urn:fluxop:"),
        ({}, "FluxRequirement", "another namespace than ours"),
    ],
)
def test_a_hint_that_means_to_be_ours_is_not_lost_in_silence(world, namespaces, kind, says):
    document = {**tool(hints={kind: {"tasks": 4}}), "$namespaces": namespaces}
    with pytest.raises(UserErrors, match=f"(?s)main.cwl:.*{says}"):
        world.step(document)


def test_hints_of_others_are_not_ours(world):
    namespaces = {"arv": "urn:arv:"}
    assert world.step({**tool(hints={"arv:Reuse": {"tasks": "x"}}), "$namespaces": namespaces}).needs.tasks == 1


def test_as_a_requirement_it_is_explained(world):
    with pytest.raises(UserError, match=r"(?s)main.cwl:\d+: .*no requirement that CWL knows.*Move it to `hints`"):
        world.step(tool(requirements=hinted(tasks=2)))


def test_an_https_namespace_costs_no_look_up(world, monkeypatch):
    def no_network(*_):
        raise AssertionError("a look-up")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    document = {
        **tool(),
        "$namespaces": {"s": "https://schema.org/"},
        "s:author": [{"class": "s:Person", "s:name": "A"}],
    }
    read_workflow(world.write("main.cwl", document))


def test_each_need_knows_where_it_was_said(world):
    world.write(
        "tool.cwl",
        """\
        cwlVersion: v1.2
        class: CommandLineTool
        $namespaces: {fluxop: "urn:fluxop:"}
        baseCommand: "true"
        requirements:
          - class: ResourceRequirement
            ramMin: 5
            coresMin: 2
        hints:
          fluxop:FluxRequirement:
            gpusPerTask: 1
          DockerRequirement: {dockerPull: a}
        inputs: []
        outputs: []
        """,
    )
    found = world.read(workflow(a=step("tool.cwl", out=()))).steps["/a"]
    assert found.said == {
        "cores": "tool.cwl:8: step /a: requirements.ResourceRequirement.coresMin",
        "memory": "tool.cwl:7: step /a: requirements.ResourceRequirement.ramMin",
        "gpusPerTask": "tool.cwl:11: step /a: hints.fluxop:FluxRequirement.gpusPerTask",
        "image": "tool.cwl:12: step /a: hints.DockerRequirement.dockerPull",
    }
    assert found.place == found.said["cores"]


def test_the_published_schema_is_the_one_that_is_checked():
    page = Path(__file__).parents[2] / "docs" / "fluxop-hint.md"
    published = re.search(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    assert published is not None
    assert json.loads(published[1]) == hint_schema()
