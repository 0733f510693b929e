import copy
import subprocess
import sys

import pytest
from cwl_worlds import step, tool, workflow

from streamflow_fluxop.cwl import StreamFlowFile, read_streamflow_file
from streamflow_fluxop.errors import UserError

TEXT = """\
version: v1.0
workflows:
  main:
    type: cwl
    config:
      file: main.cwl
      settings: inputs.json
      docker:
        - step: /sub
          deployment: {type: none, config: {}}
    bindings:
      - step: /
        target: {deployment: fleet}
      - step: /sub/b
        target:
          - deployment: fleet
            service: gpu
          - deployment: far
            locations: 2
        filters: [shuffled]
      - step: /c
        target: {deployment: far}
deployments:
  fleet:
    type: minicluster
    config:
      cluster: local
      flavours:
        cpu: {cores: 2}
  far:
    type: ssh
    config: {}
    workdir: /there
bindingFilters:
  shuffled: {type: shuffle, config: {}}
"""


@pytest.fixture
def file(world):
    world.write(
        "main.cwl",
        workflow(
            "x",
            a=step(tool(), x="x"),
            sub=step(workflow("x", {"o": "b/o"}, b=step(tool(), x="x"), d=step(tool(), x="x")), x="a/o"),
            c=step(tool(), x="sub/o"),
        ),
    )
    world.write("inputs.json", {"x": 1})
    return read_streamflow_file(world.write("streamflow.yml", TEXT))


def test_a_place_has_file_line_and_path(file):
    def where(*keys):
        return file.where(*keys).rpartition("/")[2]

    assert where("deployments", "fleet", "config", "flavours", "cpu") == (
        "streamflow.yml:29: deployments.fleet.config.flavours.cpu"
    )
    assert where("workflows", "main", "bindings", 1, "target", 0, "service") == (
        "streamflow.yml:17: workflows.main.bindings[1].target[0].service"
    )
    assert where("deployments", "fleet", "config", "limits") == "streamflow.yml:26: deployments.fleet.config.limits"
    assert where("nowhere") == "streamflow.yml: nowhere"


def test_deployments_and_workflows_are_read(file, world):
    assert list(file.fleets) == ["fleet"]
    assert file.deployments["far"].workdir == "/there"
    entry = file.workflow()
    assert (entry.file, entry.settings) == (str(world.folder / "main.cwl"), str(world.folder / "inputs.json"))


def test_the_deepest_binding_holds(file):
    bound = file.read()
    found = {name: [(t.deployment.name, t.service) for t in b.targets] for name, b in bound.bindings.items()}
    assert found == {
        "/a": [("fleet", None)],
        "/sub/b": [("fleet", "gpu"), ("far", None)],
        "/sub/d": [("fleet", None)],
        "/c": [("far", None)],
    }
    assert bound.bindings["/sub/b"].filters == ("shuffled",)
    assert bound.bindings["/sub/b"].targets[1].locations == 2
    assert (
        bound.bindings["/sub/b"]
        .targets[0]
        .place.endswith("streamflow.yml:17: workflows.main.bindings[1].target[0].service")
    )
    assert {n: b.docker for n, b in bound.bindings.items()} == {
        "/a": None,
        "/sub/b": "none",
        "/sub/d": "none",
        "/c": None,
    }


def test_steps_bound_elsewhere_order_ours_and_need_no_minicluster(file):
    bound = file.read("main")
    steps = {s.name: s for s in bound.workflow("fleet").steps}
    assert list(bound.steps_of("fleet")) == ["/a", "/sub/b", "/sub/d"]
    assert steps["/c"].controller
    assert steps["/c"].duration.seconds == 60
    assert steps["/sub/b"].binding == "gpu"
    assert not steps["/a"].controller
    assert list(bound.deployments()) == ["fleet"]


def test_what_no_binding_names_is_local(world, file):
    del file.config["workflows"]["main"]["bindings"]
    assert {b.targets[0].deployment.type for b in file.read().bindings.values()} == {"local"}


def test_a_configuration_that_streamflow_loaded_is_read_and_left_alone(file, world):
    from streamflow.config.config import WorkflowConfig
    from streamflow.config.validator import SfValidator

    config = SfValidator().yaml.load(TEXT) | {"path": str(world.folder / "streamflow.yml")}
    WorkflowConfig("main", config)  # resolves policies in place
    before = copy.deepcopy({k: config[k] for k in ("workflows", "path")})
    loaded = StreamFlowFile.from_config(config)
    assert loaded.read().bindings.keys() == file.read().bindings.keys()
    assert loaded.fleets["fleet"].scheduling_policy == "__DEFAULT__"
    assert {k: config[k] for k in before} == before
    assert loaded.where("workflows", "main") == f"{config['path']}: workflows.main"
    assert loaded.with_lines().where("workflows", "main") == f"{config['path']}:3: workflows.main"


def test_with_lines_keeps_what_is_in_no_file(file):
    config = copy.deepcopy(file.config)
    config["workflows"]["main"]["config"]["file"] = "/elsewhere.cwl"
    assert StreamFlowFile.from_config(config, file.path).with_lines().workflow().file == "/elsewhere.cwl"


def test_bindings_hold_as_streamflow_s_own_rule_says(file, world):
    from streamflow.config.config import WorkflowConfig
    from streamflow.config.validator import SfValidator
    from streamflow.deployment.utils import get_binding_config

    config = WorkflowConfig("main", SfValidator().yaml.load(TEXT))
    for name, binding in file.read().bindings.items():
        theirs = get_binding_config(name, "step", config)
        assert [(t.deployment.name, t.service, t.locations) for t in theirs.targets] == [
            (t.deployment.name, t.service, t.locations) for t in binding.targets
        ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", r"streamflow.yml:\d: is no valid YAML"),
        ("a: 1\na: 2", "streamflow.yml:2: is no valid YAML"),
        ("- 1", "streamflow.yml: is no mapping"),
        ("deployments: []", "deployments: is no mapping"),
        ("deployments: {a: {}}", "streamflow.yml:1: deployments.a: a deployment without a type"),
        ("deployments: {a: 1}", "streamflow.yml:1: deployments.a: is no mapping"),
        ("workflows: {}", "workflows: 0 CWL workflows\n.*none"),
        ("workflows: {w: {type: cwl, config: {}}}", "streamflow.yml:1: workflows.w.config: no CWL file"),
        ("workflows: {w: {type: other, config: {}}}", "0 CWL workflows"),
    ],
)
def test_mistakes_in_the_file_have_their_place(world, text, says):
    def read():
        file = read_streamflow_file(world.write("streamflow.yml", text))
        return file.deployments, file.workflow()

    with pytest.raises(UserError, match=f"(?s){says}"):
        read()


def test_an_absent_file_is_named(world):
    with pytest.raises(UserError, match=r"nowhere.yml: can't be read: No such file"):
        read_streamflow_file("nowhere.yml")


@pytest.mark.parametrize(
    ("step_path", "target", "says"),
    [
        ("a", "fleet", r"streamflow.yml:12: .*'a' is no absolute path\n  Write /a."),
        ("/a", "flet", r"streamflow.yml:13: .*deployment: no deployment 'flet'\n  The deployments are: fleet, far."),
    ],
)
def test_bindings_that_streamflow_can_not_use_have_their_place(world, file, step_path, target, says):
    text = TEXT.replace(
        "step: /\n        target: {deployment: fleet}", f"step: {step_path}\n        target: {{deployment: {target}}}"
    )
    with pytest.raises(UserError, match=says):
        read_streamflow_file(world.write("streamflow.yml", text)).read()


def test_importing_costs_little():
    heavy = "{'cwl_utils', 'schema_salad', 'ruamel.yaml', 'streamflow'}"
    code = f"import streamflow_fluxop.cwl, sys; print(*{heavy} & {{*sys.modules}})"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert imported.strip() == ""
