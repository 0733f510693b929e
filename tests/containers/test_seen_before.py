"""What `fluxop doctor` and `fluxop plan` say of containers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from container_images import IMAGE

TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements: {{DockerRequirement: {{dockerPull: "{image}"}}}}
baseCommand: only-in-image
inputs: []
outputs: []
"""


@pytest.fixture
def fluxop(tmp_path):
    def run(command, image=IMAGE, **fleet):
        (tmp_path / "tool.cwl").write_text(TOOL.format(image=image))
        config = {
            "version": "v1.0",
            "workflows": {
                "wf": {
                    "type": "cwl",
                    "config": {"file": "tool.cwl"},
                    "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
                }
            },
            "deployments": {
                "fleet": {
                    "type": "minicluster",
                    "config": {"cluster": "local", "flavours": {"cpu": {"cores": 4, "memory": 8192}}, **fleet},
                }
            },
        }
        (tmp_path / "streamflow.yml").write_text(json.dumps(config))
        said = subprocess.run(
            [Path(sys.executable).parent / "fluxop", command, "streamflow.yml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        return said.returncode, " ".join(said.stdout.split()), " ".join(said.stderr.split())

    return run


def test_the_doctor_says_which_engine_works_and_which_images_are_there(fluxop, podman):
    code, said, _ = fluxop("doctor", containers="podman")
    assert code == 0
    assert "ok containers are run by podman" in said
    assert f"ok image {IMAGE} of / is there" in said
    _, said, _ = fluxop("doctor", image="localhost/none:1", containers="podman")
    assert "ok image localhost/none:1 of / is not there yet: the run gets it" in said


def test_the_doctor_fails_where_the_engine_that_is_wanted_is_not_there(fluxop):
    code, said, _ = fluxop("doctor", containers="singularity")
    assert code == 1
    assert "fail" in said
    assert "singularity" in said
    assert "there is no only-in-image on the PATH" in said


def test_the_doctor_says_what_runs_as_it_is(fluxop):
    code, said, _ = fluxop("doctor", containers="none")
    assert code == 0
    assert "warn `containers: none`: commands of / run as they are" in said
    assert "warn there is no only-in-image on the PATH, which / runs" in said


def test_the_plan_says_what_runs_in_which_image(fluxop):
    assert f"container {IMAGE}: /" in fluxop("plan")[1]


def test_an_engine_that_pods_have_no_use_for_is_refused(fluxop):
    code, _, errors = fluxop("plan", cluster="kubernetes", containers="podman")
    assert code != 0
    assert "containers: podman is for clusters local and ssh: pods have images" in errors
