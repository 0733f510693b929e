"""Wrong input ends before anything starts, with the file, the place in it, and what would be right."""

import copy
import logging
import subprocess
import sys
import textwrap

import pytest
from streamflow.config.validator import SfValidator

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.plugin import FluxopPlugin
from streamflow_fluxop.plugin.run import InfeasibleJob, current_run

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


@pytest.fixture(autouse=True, scope="module")
def registered():
    FluxopPlugin().register()


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Validate FILE with some text replaced, as `streamflow run` does."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wf.cwl").write_text(textwrap.dedent(WORKFLOW))

    def check(*replace):
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
        ("cluster: local", "cluster: slurm", 'streamflow.yml:13: deployments.fleet.config.cluster: "slurm": input'),
        ("cluster: local", "cluster: kubernetes", "MiniClusters on Kubernetes are not there yet"),
        ("cluster: local", "cluster: local\n      scheduler: flux", "there is no `flux` on the PATH"),
        ("cores: 4", "cores: four", 'flavours.cpu.cores: "four" is not a whole number'),
        ("cores: 4", "cpus: 4", "streamflow.yml:15: deployments.fleet.config.flavours.cpu.cpus: unknown key 'cpus'"),
        ("cluster: local", "cluster: local\n      limits: {cores: 2}", "the limits allow no node of flavour 'cpu'"),
        ("cluster: local", "cluster: local\n      flavors: {}", "Did you mean 'flavours'?"),
        ("  config:\n      cl", "  lasy: true\n    config:\n      cl", "unknown key 'lasy'\n  Did you mean 'lazy'?"),
        ("  config:\n      cl", "  wraps: x\n    config:\n      cl", "a fleet wraps no other deployment"),
        ("  config:\n      cl", "  external: true\n    config:\n      cl", "never external"),
        ("{deployment: fleet}", "{deployment: fleet, locations: 2}", "2 locations of a fleet"),
        ("{deployment: fleet}", "{deployment: fleet, service: gpu}", "service 'gpu' is neither a flavour nor a group"),
        ("{deployment: fleet}", "{deployment: float}", "no deployment 'float'"),
        ("cores: 4, memory: 8192", "cores: 4, memory: 100", "no flavour meets the needs of step /one: 1 core, 256 MiB"),
        (
            "{file: wf.cwl}",
            "{file: wf.cwl, docker: [{step: /, deployment: {type: docker, config: {}}}]}",
            "docker container",
        ),
    ],
)
def test_a_mistake_is_refused(check, monkeypatch, old, new, message):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(UserError) as error:
        check((old, new))
    assert message in str(error.value)
    assert "streamflow.yml" in str(error.value) or "wf.cwl" in str(error.value)


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
    with pytest.raises(UserError, match="does not lie in the fleet's shared storage /shared"):
        check(storage, ("  config:\n      cl", "  workdir: /tmp/x\n    config:\n      cl"))


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
    assert fleet.place("/one/0", "/one", 1, cores=1, memory=256) == "cpu"
    assert fleet.place("/sum/0", "/sum", 1, cores=1, memory=256) == fleet.controller
    assert fleet.place("/unread/0", "/unread", 1, cores=4, memory=256) == "cpu", (
        "StreamFlow may know more steps than we"
    )
    with pytest.raises(InfeasibleJob, match="which needs 5 cores"):
        fleet.place("/unread/0", "/unread", 1, cores=5, memory=256)


def test_a_job_takes_the_cores_that_keep_others_out_of_its_memory(check):
    check(("cores: 4, memory: 8192", "cores: 4, memory: 1024"))
    fleet = current_run().fleets["fleet"]
    fleet.place("/unread/0", "/unread", 1, cores=1, memory=512)
    assert fleet.placements["/unread/0"].cores_per_task == 2


def test_the_plugin_loads_nothing_heavy_before_a_file_needs_it():
    code = "import streamflow.main, sys; from streamflow_fluxop.plugin import FluxopPlugin; before = set(sys.modules);"
    code += "FluxopPlugin().register(); print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {m.split(".")[0] for m in done.stdout.split()} & {
        "pydantic",
        "networkx",
        "ortools",
        "matplotlib",
        "typer",
    }
