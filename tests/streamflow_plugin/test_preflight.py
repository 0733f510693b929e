"""Wrong input ends before anything starts, with the file, the place in it, and what would be right."""

import copy
import logging
import shutil
import subprocess
import sys
import textwrap

import pytest
from streamflow.config.validator import SfValidator

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.sources.streamflow import read_streamflow
from streamflow_fluxop.streamflow_plugin import FluxopPlugin
from streamflow_fluxop.streamflow_plugin.current_run import InfeasibleJob, current_run

WORKFLOW = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: []
    outputs: []
    steps:
      one:
        run: {class: CommandLineTool, baseCommand: "true", inputs: [], outputs: [],
              requirements: {DockerRequirement: {dockerPull: debian}}}
        in: []
        out: []
      sum:
        run: {class: ExpressionTool, inputs: [], outputs: [], expression: "$({})",
              requirements: {InlineJavascriptRequirement: {}}}
        in: []
        out: []
    """

FILE = """\
    version: v1.0
    workflows:
      wf:
        type: cwl
        config: {file: wf.cwl}
        bindings:
          - step: /
            target: {deployment: fleet}
    deployments:
      fleet:
        type: minicluster
        config:
          cluster: local
          flavours:
            cpu: {cores: 4, memory: 8192}
    """


FILE_TEXT = textwrap.dedent(FILE)


needs_node = pytest.mark.skipif(
    not (shutil.which("nodejs") or shutil.which("node")), reason="needs node for JavaScript"
)


@pytest.fixture(autouse=True, scope="module")
def registered():
    FluxopPlugin().register()


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Validate FILE with some text replaced, as `streamflow run` does."""
    monkeypatch.chdir(tmp_path)

    def check(*replace, cwl=WORKFLOW):
        (tmp_path / "wf.cwl").write_text(textwrap.dedent(cwl))
        text = textwrap.dedent(FILE)
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "streamflow.yml").write_text(text)
        return SfValidator().validate_file("streamflow.yml")

    return check


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cluster: local", "", "streamflow.yml:12: deployments.fleet.config: the key 'cluster' is missing"),
        ("cluster: local", "cluster: slurm", 'config.cluster: "slurm" is not possible here\n  Possible here: local, '),
        ("cluster: local", "cluster: Local", "Did you mean 'local'? Possible here: local, kubernetes, ssh."),
        ("cores: 4", "cores: -4", "streamflow.yml:15: deployments.fleet.config.flavours.cpu.cores: -4 is not more"),
        ("cpu: {cores", "CPU: {cores", '"CPU" is no name that is possible here\n  Small letters, digits and dashes'),
        ("{deployment: fleet}", "{deployment: fleet, locations: two}", 'locations: "two" is not a whole number'),
        ("{deployment: fleet}", "fleet", "streamflow.yml:8: workflows.wf.bindings[0].target"),
        ("{file: wf.cwl}", "{file: .}", "streamflow.yml:5: workflows.wf.config.file: . is a directory"),
        ("cluster: local", "cluster: local\n      scheduler: flux", "there is no `flux` on the PATH"),
        ("cores: 4", "cores: four", 'flavours.cpu.cores: "four" is not a whole number'),
        ("cores: 4", "cpus: 4", "streamflow.yml:15: deployments.fleet.config.flavours.cpu.cpus: unknown key 'cpus'"),
        ("cluster: local", "cluster: local\n      limits: {cores: 2}", "the limits allow no node of flavour 'cpu'"),
        ("cluster: local", "cluster: local\n      flavors: {}", "Did you mean 'flavours'?"),
        ("  config:\n      cl", "  lasy: true\n    config:\n      cl", "unknown key 'lasy'\n  Did you mean 'lazy'?"),
        ("  config:\n      cl", "  wraps: x\n    config:\n      cl", "a fleet wraps no other deployment"),
        ("  config:\n      cl", "  external: true\n    config:\n      cl", "needs the Flux instance to attach to"),
        ("cluster: local", "cluster: local\n      flux_uri: local:///x", "only an external one has it"),
        ("cluster: local", "cluster: kubernetes\n      kubernetes: {attach: x}", "needs the MiniCluster to attach to"),
        ("cluster: local", "cluster: local\n      kubernetes: {attach: x}", "is named by flux_uri"),
        ("{deployment: fleet}", "{deployment: fleet, locations: 2}", "2 locations of a fleet"),
        ("{deployment: fleet}", "{deployment: fleet, service: gpu}", "service 'gpu' is neither a flavour nor a group"),
        ("{deployment: fleet}", "{deployment: float}", "no deployment 'float'"),
        ("cores: 4, memory: 8192", "cores: 4, memory: 100", "no flavour meets the needs of step /one: 1 core, 256 MiB"),
        (
            "{file: wf.cwl}",
            "{file: wf.cwl, docker: [{step: /, deployment: {type: docker, config: {}}}]}",
            "docker container",
        ),
        ("{file: wf.cwl}", "{file: no.cwl}", "streamflow.yml:5: workflows.wf.config.file: there is no file no.cwl"),
        ("{file: wf.cwl}", "{file: wf.cwl, settings: no.yml}", "there is no file no.yml"),
        ("{file: wf.cwl}", "{fil: wf.cwl}", "workflows.wf.config.fil: unknown key 'fil'\n  Did you mean 'file'?"),
        ("step: /", "step: /tow", "streamflow.yml:7: workflows.wf.bindings[0].step: there is no step /tow"),
        ("{deployment: fleet}", "", "streamflow.yml:8: workflows.wf.bindings[0].target: null is not a mapping"),
        ("{deployment: fleet}", "{deploy: fleet}", "bindings[0].target: the key 'deployment' is missing"),
        ("{deployment: fleet}", "{deployment: fleet, service: 3}", "target.service: 3 is not text"),
        ("{deployment: fleet}", "{deployment: fleet}\n        filters: [f]", "there is no binding filter 'f'"),
        ("type: minicluster", "type: miniclusters", '"miniclusters" is not possible here\n  Did you mean \'minicl'),
        ("type: minicluster", "type: minicluster\n    workdir: /dev/null/x", "/dev/null is no directory"),
        ("type: minicluster", "type: minicluster\n    workdir: 5", "deployments.fleet.workdir: 5 is no path"),
        ("version: v1.0", "scheduling:\nversion: v1.0\nwrong: 1", "unknown key 'wrong'"),
        ("version: v1.0", "", "streamflow.yml: the key 'version' is missing"),
        ("version: v1.0", "version: v2", "streamflow.yml:1: version: Version v2 is unsupported"),
        ("cpu: {cores: 4, memory: 8192}", "cpu: {cores: 4", "is no valid YAML: expected ',' or '}'"),
        ("cluster: local", "cluster: local\n      cluster: local", 'found duplicate key "cluster"'),
        (FILE_TEXT, "", "streamflow.yml: is no mapping"),
    ],
)
def test_a_mistake_is_refused(check, monkeypatch, old, new, message):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(UserError) as error:
        check((old, new))
    assert message in str(error.value)
    assert "streamflow.yml" in str(error.value) or "wf.cwl" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    in: []", "    in: [", "wf.cwl:11: is no valid YAML"),
        ("class: CommandLineTool", "class: CommandTool", "no class `CommandTool`: did you mean `CommandLineTool`?"),
        ("    in: []", "    inn: []", "wf.cwl:6: is not valid CWL: steps.one: the field `in` is missing"),
        ("    in: []", "    inn: []", "wf.cwl:9: steps.one: there is no field `inn` here: did you mean `in`?"),
        ("    in: []", "    in: {x: y}", "wf.cwl:9: step /one: in.x: is linked to y, which is not there"),
        ("    in: []", "    in: []\n        scatter: x", "wf.cwl:10: step /one: scatters over 'x'"),
        ("{n: int?}", "{n: integer}", "wf.cwl:3: inputs.n: there is no type integer\n  A type is one of CWL's"),
        ("{n: int?}", "{n: {type: int, default: x}}", 'wf.cwl:3: inputs.n.default: "x" is not of type int'),
        ("DockerRequirement:", "DockerRequirements:", "wf.cwl:8: requirements.DockerRequirements: there is no"),
        ("{dockerPull: debian}", "{dockerPull: debian}, ResourceRequirement: {coresMin: four}", '"four" is no number'),
        ("{dockerPull: debian}", "{dockerPull: debian}, ResourceRequirement: {ramMin: -1}", "ramMin: -1 is no number"),
        (
            "{dockerPull: debian}",
            "{dockerPull: debian}, ResourceRequirement: {coresMin: 2, coresMax: 1}",
            "wf.cwl:8: step /one: requirements.ResourceRequirement.coresMax: coresMin is 2, but coresMax is 1",
        ),
        ("{dockerPull: debian}", "{dockerPull: debian}, ToolTimeLimit: {timelimit: -1}", "timelimit: -1 is no number"),
    ],
)
def test_a_mistake_in_the_cwl_is_refused(check, old, new, message):
    with pytest.raises(UserError) as error:
        check(cwl=WORKFLOW.replace("inputs: []", "inputs: {n: int?}", 1).replace(old, new, 1))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("kind", "inputs", "message"),
    [
        ("int", "ns: 3", "in.yml: the input 'n' is missing in the inputs\n  Is it 'ns' there?"),
        ("int", None, "wf.cwl: the input 'n' is missing and there is no inputs file"),
        ("int", "n: three", 'in.yml:1: n: "three" is not of type int'),
        ("int?", "n: 1.5", "in.yml:1: n: 1.5 is not of type int?"),
        ("'File[]'", "n: {class: File, path: in.yml}", "is not of type File[]"),
        ("File", "n:\n  class: File\n  path: there.txt", "in.yml:3: n.path: there is no file or directory"),
        ("File", "n: {class: File}", "in.yml:1: n: the File has neither `location` nor `path`"),
        ("File", "n: {class: File, path: 3}", "n.path: 3 is no name of a file"),
        ("File", "n: {class: File, path: .}", "is a directory\n  Write `class: Directory`"),
        ("Directory", "n: {class: Directory, path: in.yml}", "in.yml is no directory"),
        ("'File[]'", "n:\n- {class: File, path: in.yml}\n- {class: File, path: x}", "in.yml:3: n[1].path: there is no"),
        (
            "File",
            "n:\n  class: File\n  path: in.yml\n  secondaryFiles:\n  - {class: File, path: x}",
            "in.yml:5: n.secondaryFiles[0].path: there is no file",
        ),
        (
            "Directory",
            "n:\n  class: Directory\n  basename: d\n  listing:\n  - {class: File, path: x}",
            "in.yml:5: n.listing[0].path: there is no file",
        ),
        ("{type: {type: record, fields: {a: File}}}", "n:\n  a:\n    class: File\n    location: x", "in.yml:4: n.a."),
        ("int?", "cwl:requirements: 5", "in.yml: cwl:requirements: is no list"),
        ("{type: {type: enum, symbols: [a, b]}}", "n: c", 'n: "c" is not of type enum of a, b'),
        ("{type: {type: record, fields: {a: int}}}", "n: {a: x}", "is not of type record of a: int"),
        ("int", "[3]", "in.yml: the inputs are no mapping"),
        ("int", "n: [", "in.yml:1: is no valid YAML"),
    ],
)
def test_a_mistake_in_the_inputs_is_refused(check, tmp_path, kind, inputs, message):
    files = ()
    if inputs is not None:
        (tmp_path / "in.yml").write_text(inputs)
        files = (("{file: wf.cwl}", "{file: wf.cwl, settings: in.yml}"),)
    with pytest.raises(UserError) as error:
        check(*files, cwl=WORKFLOW.replace("inputs: []", f"inputs: {{n: {kind}}}", 1))
    assert message in str(error.value)


EXPRESSION = """\
    cwlVersion: v1.2
    class: Workflow
    requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
    inputs: {n: {type: int, default: 3}}
    outputs: []
    steps:
      one:
        run:
          class: CommandLineTool
          baseCommand: echo
          arguments: [$(inputs.x)]
          inputs: {x: int}
          outputs: []
        in: {x: n}
        out: []
    """


@needs_node
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{x: n}", "{x: {source: n, valueFrom: $(self.a.b)}}", "wf.cwl:14: step /one: in.x.valueFrom: the expressio"),
        ("{x: n}", "{x: n}\n        when: $(inputs.y.z)", "wf.cwl:15: step /one: when: the expression $(inputs.y.z)"),
        ("[$(inputs.x)]", "\n            - a\n            - $(gone())", "wf.cwl:13: step /one: arguments[1]: the expr"),
        ("outputs: []\n        in", "stdout: $(inputs.x.y.z)\n          outputs: []\n        in", "cwl:13: step"),
    ],
)
def test_an_expression_that_fails_is_refused_by_plan_and_run(check, tmp_path, old, new, message):
    with pytest.raises(UserError) as run:
        check(cwl=EXPRESSION.replace(old, new, 1))
    with pytest.raises(UserError) as plan:
        read_streamflow("streamflow.yml")
    assert message in str(run.value)
    assert str(plan.value) == str(run.value)


@needs_node
@pytest.mark.parametrize("more", ["when: $(inputs.unknown)", "when: $(false)", "scatter: x"])
def test_an_expression_that_may_never_be_evaluated_is_not_refused(check, more):
    """A step that surely or perhaps does not run."""
    cwl = EXPRESSION.replace("$(inputs.x)", "$(inputs.x.a.b)").replace("in: {x: n}", f"in: {{x: n}}\n        {more}")
    cwl = cwl.replace("in: {x: n}", "in: {x: n, unknown: two/o}")
    tool = "class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: {o: {type: boolean, outputBinding:"
    two = f"two: {{run: {{{tool} {{outputEval: $(true)}}}}}}}}, in: [], out: [o]}}"
    cwl = cwl.replace("      one:", f"      {two}\n      one:", 1)
    if "scatter" in more:
        cwl = cwl.replace("Requirement: {}, Step", "Requirement: {}, ScatterFeatureRequirement: {}, Step")
        cwl = cwl.replace("{type: int, default: 3}", "{type: 'int[]', default: []}")
    check(cwl=cwl)


def test_pods_need_an_image(check):
    kubernetes = ("cluster: local", "cluster: kubernetes")
    check(kubernetes)
    cwl = WORKFLOW.replace("DockerRequirement: {dockerPull: debian}", "")
    with pytest.raises(UserError, match="pods of MiniCluster cpu-1 have no image: the steps of /one have no Docker"):
        check(kubernetes, cwl=cwl)
    check(kubernetes, ("cores: 4, memory: 8192}", "cores: 4, memory: 8192}\n      image: debian"), cwl=cwl)


def test_pods_without_a_volume_to_share_can_only_be_one(check):
    group = "cluster: kubernetes\n      groups: {pair: {flavour: cpu, size: 2}}"
    service = ("{deployment: fleet}", "{deployment: fleet, service: pair}")
    with pytest.raises(UserError, match=r"MiniClusters pair \(2 pods\) have no volume to share"):
        check(("cluster: local", group), service)
    volume = "\n      kubernetes: {volumes: {work: {claim: work, path: /work, shared: true}}}"
    assert check(("cluster: local", group + volume), service)["deployments"]["fleet"]["workdir"] == "/work/streamflow"


def test_a_kubeconfig_that_is_not_there_is_refused(check):
    with pytest.raises(UserError, match=r"kubernetes.kubeconfig: there is no kubeconfig nowhere"):
        check(("cluster: local", "cluster: kubernetes\n      kubernetes: {kubeconfig: nowhere}"))


def test_a_template_is_read_from_the_folder_of_the_streamflow_file(check, tmp_path):
    template = ("cluster: local", "cluster: kubernetes\n      kubernetes: {template: pods.yml}")
    with pytest.raises(UserError, match=r"streamflow.yml:14: .*template pods.yml can't be read: No such file"):
        check(template)
    (tmp_path / "pods.yml").write_text("kind: MiniCluster\nspec: {flux: {logLevel: 7}}")
    check(template)
    assert current_run().fleets["fleet"].config.kubernetes.template == {"flux": {"logLevel": 7}}


def test_all_mistakes_are_told_at_once(check):
    with pytest.raises(UserError) as error:
        check(("cores: 4", "cores: four"), ("cluster: local", "cluster: slurm"))
    assert "cores" in str(error.value)
    assert "slurm" in str(error.value)


def test_what_a_fleet_brings_along_is_filled_in(check):
    config = check()
    assert config["deployments"]["fleet"]["scheduling_policy"] == "minicluster"
    assert config["scheduling"]["policies"]["minicluster"] == {"type": "minicluster", "config": {}}
    assert config["workflows"]["wf"]["config"]["docker"][0]["deployment"]["type"] == "minicluster"


def test_what_the_user_wrote_himself_stays(check):
    docker = "docker: [{step: /, deployment: {type: none, config: {}}}]"
    config = check(("{file: wf.cwl}", f"{{file: wf.cwl, {docker}}}"))
    assert [d["deployment"]["type"] for d in config["workflows"]["wf"]["config"]["docker"]] == ["none"]


def test_the_work_directory_lies_in_the_shared_storage(check):
    storage = ("cluster: local", "cluster: local\n      storage: {path: /shared}")
    assert check(storage)["deployments"]["fleet"]["workdir"] == "/shared/streamflow"
    for workdir in ("/tmp/x", "work", "/shared/../etc", "/sharedelsewhere"):
        with pytest.raises(UserError, match="does not lie in the fleet's shared storage /shared"):
            check(storage, ("  config:\n      cl", f"  workdir: {workdir}\n    config:\n      cl"))


def test_a_workflow_without_steps_is_none_of_a_fleet_s_business(check):
    outputs = "outputs: {o: {type: int, outputSource: n}}"
    check(cwl=f"cwlVersion: v1.2\nclass: Workflow\ninputs: {{n: {{type: int, default: 1}}}}\n{outputs}\nsteps: []")


def test_files_without_a_fleet_are_none_of_our_business():
    config = {"version": "v1.0", "workflows": {}, "deployments": {"l": {"type": "local", "config": {}}}}
    assert SfValidator().validate(copy.deepcopy(config)) == config


def test_a_message_has_no_traceback(check, caplog):
    with pytest.raises(UserError) as error:
        check(("cores: 4", "cores: four"))
    logging.getLogger("streamflow").error(error.value, exc_info=error.value)
    assert "four" in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_jobs_are_placed_by_their_steps(check):
    check()
    fleet = current_run().fleets["fleet"]
    assert fleet.place("/one/0", "/one", 1, cores=1, memory=256) == "cpu-1"
    assert fleet.place("/sum/0", "/sum", 1, cores=1, memory=256) == fleet.controller
    assert fleet.place("/unread/0", "/unread", 1, cores=4, memory=256) == "cpu-1", (
        "StreamFlow may know more steps than we"
    )
    with pytest.raises(InfeasibleJob, match="which needs 5 cores"):
        fleet.place("/unread/0", "/unread", 1, cores=5, memory=256)


def test_the_plan_is_that_of_fluxop_plan_unless_it_is_dynamic(check):
    check()
    fleet = current_run().fleets["fleet"]
    assert [m.name for m in fleet.plan.miniclusters] == ["cpu-1"]
    assert "cpu-1" in fleet.describe()
    check(("cluster: local", "cluster: local\n      plan: {strategy: dynamic}"))
    fleet = current_run().fleets["fleet"]
    assert fleet.plan is None
    assert list(fleet.groups) == ["cpu"]


def test_without_a_plan_jobs_that_get_a_minicluster_of_their_own_count_with_whole_nodes(check):
    two = WORKFLOW.replace("one:", "other:").split("steps:")[1].split("sum:")[0].rstrip()
    check(
        ("cluster: local", "cluster: local\n      plan: {strategy: dynamic}"),
        ("flavours:", "groups: {lonely: {flavour: cpu, lifetime: job}}\n      flavours:"),
        ("{deployment: fleet}", "{deployment: fleet, service: lonely}"),
        cwl=WORKFLOW.replace("steps:", f"steps:{two}"),
    )
    assert current_run().fleets["fleet"].groups["lonely"].size == 2


def test_the_plugin_loads_nothing_heavy_before_a_file_needs_it():
    code = "import streamflow.main, sys; from streamflow_fluxop.streamflow_plugin import FluxopPlugin"
    code += "; before = set(sys.modules); "
    code += "FluxopPlugin().register(); print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {m.split(".")[0] for m in done.stdout.split()} & {
        "pydantic",
        "networkx",
        "ortools",
        "matplotlib",
        "typer",
    }


def test_javascript_needs_something_to_evaluate_it(check, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError, match=r"wf.cwl:12: step /sum: expression: this is JavaScript, and there is no Node.js"
    ):
        check()


def test_references_need_no_node(check, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    check(cwl=WORKFLOW.replace("$({})", "$(inputs)"))
