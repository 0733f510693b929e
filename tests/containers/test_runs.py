"""The real `streamflow run`, with steps in containers of podman."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from container_images import IMAGE
from registry import registry

HEAD = "cwlVersion: v1.2\nclass: CommandLineTool\n"
SCHEDULERS = ["embedded", *(["flux"] if shutil.which("flux") else [])]


class World:
    def __init__(self, folder, scheduler):
        self.folder = folder
        self.fleet = {
            "cluster": "local",
            "scheduler": scheduler,
            "flavours": {"cpu": {"cores": 4, "memory": 8192}},
            "containers": "podman",
        }

    def start(self, cwl, **inputs):
        (self.folder / "tool.cwl").write_text(cwl if cwl.startswith("cwlVersion") else HEAD + cwl)
        (self.folder / "inputs.json").write_text(json.dumps(inputs))
        config = {
            "version": "v1.0",
            "workflows": {
                "wf": {
                    "type": "cwl",
                    "config": {"file": "tool.cwl", "settings": "inputs.json"},
                    "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
                }
            },
            "deployments": {
                "fleet": {"type": "minicluster", "config": self.fleet, "workdir": str(self.folder / "work")}
            },
            "database": {"type": "default", "config": {"connection": ":memory:"}},
        }
        (self.folder / "streamflow.yml").write_text(json.dumps(config))
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "streamflow"), "run", "--outdir", "out", "streamflow.yml"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, cwl, **inputs):
        process = self.start(cwl, **inputs)
        out, self.err = process.communicate(timeout=120)
        self.code = process.returncode
        return out

    def outputs(self, cwl, **inputs):
        out = self.run(cwl, **inputs)
        assert self.code == 0, self.err[-5000:]
        return json.loads(out[out.index("{") :])

    def events(self, kind):
        (log,) = Path(os.environ["FLUXOP_RUNS"]).glob("*.jsonl")
        return [e for line in log.read_text().splitlines() if (e := json.loads(line))["event"] == kind]


@pytest.fixture(params=SCHEDULERS)
def world(request, tmp_path, podman):
    world = World(tmp_path, request.param)
    before = containers()
    yield world
    assert soon(lambda: containers() <= before), "containers are left"


ENGINE = shutil.which("podman")


def containers():
    listed = subprocess.run([ENGINE, "ps", "--all", "--quiet"], capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def text(file):
    return Path(file["path"]).read_text()


def test_steps_run_in_their_images_which_are_looked_for_once(world, tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    made = world.outputs(
        f"""cwlVersion: v1.2
class: Workflow
requirements: {{ScatterFeatureRequirement: {{}}}}
inputs: {{files: "File[]"}}
outputs: {{all: {{type: File, outputSource: join/out}}}}
steps:
  each:
    run:
      class: CommandLineTool
      requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}"}}}}
      baseCommand: [sh, -c, 'only-in-image $(cat "$0"); test "$HOME" = "$(pwd)"; id -u']
      inputs: {{f: {{type: File, inputBinding: {{}}}}}}
      outputs: {{out: stdout}}
    scatter: f
    in: {{f: files}}
    out: [out]
  join:
    run:
      class: CommandLineTool
      requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}"}}}}
      baseCommand: cat
      inputs: {{fs: {{type: "File[]", inputBinding: {{}}}}}}
      outputs: {{out: stdout}}
    in: {{fs: each/out}}
    out: [out]
""",
        files=[{"class": "File", "path": str(tmp_path / name)} for name in "abc"],
    )
    assert text(made["all"]) == "".join(f"in the image: {name}\n{os.geteuid()}\n" for name in "abc")
    (got,) = world.events("image-got")
    assert (got["image"], got["engine"], got["fetched"]) == (IMAGE, "podman", False)
    assert got["digest"].startswith("sha256:")
    assert len(world.events("minicluster-asked")) == 1


def test_the_output_directory_and_absolute_paths_are_those_of_the_container(world):
    made = world.outputs(
        f"""
requirements:
  DockerRequirement: {{dockerPull: "{IMAGE}", dockerOutputDirectory: /image-only/out}}
  InitialWorkDirRequirement:
    listing: [{{entryname: /image-only/data/x.txt, entry: staged}}, {{entryname: here.txt, entry: here}}]
baseCommand: [sh, -c, "cat /image-only/data/x.txt here.txt; pwd; echo made >/image-only/out/made"]
inputs: []
outputs: {{out: stdout, made: {{type: File, outputBinding: {{glob: made}}}}}}
"""
    )
    assert text(made["out"]) == "stagedhere/image-only/out\n"
    assert text(made["made"]) == "made\n"
    assert not os.path.exists("/image-only")


def test_images_are_imported_loaded_and_built_as_the_tool_says(world, image_archive, tmp_path):
    saved = tmp_path / "saved.tar"
    subprocess.run(["podman", "save", "--quiet", "--output", saved, IMAGE], check=True, capture_output=True)
    for said in (f'dockerImport: "{image_archive}", dockerImageId: "localhost/imported:1"', "dockerLoad: saved.tar"):
        tool = f"requirements: {{DockerRequirement: {{{said}}}}}\nbaseCommand: only-in-image\ninputs: []\n"
        made = world.outputs(tool + "outputs: {out: stdout}\n")
        assert text(made["out"]) == "in the image:\n"


def test_an_image_is_pulled_once_for_many_jobs(world, tmp_path, monkeypatch):
    subprocess.run([ENGINE, "push", "--quiet", IMAGE, f"oci:{tmp_path}/layout:1"], check=True, capture_output=True)
    with registry(tmp_path / "layout", "some/tools") as (address, asked):
        (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
        try:
            made = world.outputs(
                f"""cwlVersion: v1.2
class: Workflow
requirements: {{ScatterFeatureRequirement: {{}}}}
inputs: {{words: "string[]"}}
outputs: {{all: {{type: "File[]", outputSource: each/out}}}}
steps:
  each:
    run:
      class: CommandLineTool
      requirements: {{DockerRequirement: {{dockerPull: "{address}/some/tools:1"}}}}
      baseCommand: only-in-image
      inputs: {{w: {{type: string, inputBinding: {{}}}}}}
      outputs: {{out: stdout}}
    scatter: w
    in: {{w: words}}
    out: [out]
""",
                words=list("abcdef"),
            )
        finally:
            subprocess.run([ENGINE, "rmi", "--force", f"{address}/some/tools:1"], check=False, capture_output=True)
    assert [text(file) for file in made["all"]] == [f"in the image: {w}\n" for w in "abcdef"]
    assert asked == ["1"]
    (got,) = world.events("image-got")
    assert got["fetched"]
    assert got["digest"].startswith("sha256:")


def test_an_image_that_is_nowhere_is_told_before_a_job_starts(world):
    world.run(
        """
requirements: {DockerRequirement: {dockerPull: "localhost:1/no/such:image"}}
baseCommand: "true"
inputs: []
outputs: []
"""
    )
    assert world.code != 0
    assert "the image localhost:1/no/such:image can't be got with podman" in world.err
    assert "SUBMITTING" not in world.err


def test_a_job_that_fails_is_told_with_its_own_command_and_its_image(world):
    world.run(
        f"""
requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}"}}}}
baseCommand: [sh, -c, "echo oh no >&2; exit 9"]
inputs: []
outputs: []
"""
    )
    assert f"oh no\n\texit code 9, in MiniCluster cpu-1, in a container of {IMAGE}\n\tcommand: sh -c" in world.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_container_outlives_its_run(world, number):
    mark = f"8{os.getpid()}{time.time_ns() % 10**6}"
    process = world.start(
        f"""
requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}"}}}}
baseCommand: [sh, -c, "trap '' TERM INT; sleep {mark}"]
inputs: []
outputs: []
"""
    )
    assert soon(lambda: running(mark)), process.communicate()
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    assert soon(lambda: not running(mark), 30)


def test_a_job_that_takes_too_long_leaves_no_container(world):
    mark = f"8{os.getpid()}{time.time_ns() % 10**6}"
    world.run(
        f"""
requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}"}}, ToolTimeLimit: {{timelimit: 4}}}}
baseCommand: [sleep, "{mark}"]
inputs: []
outputs: []
"""
    )
    assert "time limit of 4 s exceeded" in world.err
    assert soon(lambda: not running(mark), 30)


def test_without_an_engine_a_program_that_is_not_there_is_told_before_the_run(world, monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "cat", "id", "mktemp", "mkdir", "readlink", "ln", "rm", "tr", "timeout", "true", "uname"):
        (folder / program).symlink_to(shutil.which(program))
    world.fleet |= {"containers": "auto", "scheduler": "embedded"}
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(folder))
        world.run(
            f"requirements: {{DockerRequirement: {{dockerPull: {IMAGE}}}}}\n"
            "baseCommand: only-in-image\ninputs: []\noutputs: []\n"
        )
    assert world.code != 0
    told = world.err.index("these programs of steps with an image are not on the PATH: only-in-image (/)")
    assert told < world.err.index("DEPLOYING")


def soon(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def running(mark):
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", mark.encode()]:
                return True
    return False
