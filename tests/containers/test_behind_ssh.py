"""Containers of a fleet behind a real sshd."""

import json
import os
import subprocess
import sys
from pathlib import Path

from container_images import IMAGE
from ssh_worlds import needs_sshd, sshd  # noqa: F401 - a fixture

# ruff: noqa: F811 - fixtures come from another module
TOOL = f"""\
cwlVersion: v1.2
class: CommandLineTool
requirements: {{DockerRequirement: {{dockerPull: "{IMAGE}", dockerOutputDirectory: /image-only/out}}}}
baseCommand: [sh, -c, 'only-in-image "$(cat "$0")"; pwd']
inputs: {{f: {{type: File, inputBinding: {{}}}}}}
outputs: {{out: stdout}}
"""


@needs_sshd
def test_steps_run_in_their_images_on_the_other_host(sshd, tmp_path, podman):
    own = " ".join(f"{name}={value}" for name, value in podman.items())
    configured = sshd.folder / "config"
    configured.write_text(configured.read_text().replace("SetEnv ", f"SetEnv {own} "))
    sshd.stop()
    sshd.start()
    (tmp_path / "tool.cwl").write_text(TOOL)
    (tmp_path / "data").write_text("far")
    (tmp_path / "inputs.json").write_text(json.dumps({"f": {"class": "File", "path": str(tmp_path / "data")}}))
    fleet = {
        "cluster": "ssh",
        "ssh": json.loads(sshd.config().model_dump_json(exclude_defaults=True)),
        "containers": "podman",
        "flavours": {"cpu": {"cores": 2, "memory": 1024}},
    }
    config = {
        "version": "v1.0",
        "workflows": {
            "wf": {
                "type": "cwl",
                "config": {"file": "tool.cwl", "settings": "inputs.json"},
                "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
            }
        },
        "deployments": {"fleet": {"type": "minicluster", "config": fleet, "workdir": str(tmp_path / "there")}},
        "database": {"type": "default", "config": {"connection": ":memory:"}},
    }
    (tmp_path / "streamflow.yml").write_text(json.dumps(config))
    ours = {k: v for k, v in os.environ.items() if k not in podman}
    said = subprocess.run(
        [Path(sys.executable).parent / "streamflow", "run", "--outdir", "out", "streamflow.yml"],
        cwd=tmp_path,
        env=ours,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr[-4000:]
    made = json.loads(said.stdout[said.stdout.index("{") :])
    assert Path(made["out"]["path"]).read_text() == "in the image: far\n/image-only/out\n"
