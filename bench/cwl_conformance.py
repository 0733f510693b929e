"""The CWL conformance suite through the connector, all steps bound to it.

    python -m bench.cwl_conformance DIR [--scheduler embedded|flux] [--containers ENGINE] [--local] [cwltest's options]

DIR is a checkout of the CWL v1.2 standard, which has `conformance_tests.yaml`. `--local` runs StreamFlow's own local
connector instead, for comparison. Needs `cwltest` (pip install cwltest), and with containers the images that the suite
names: `docker.io/debian:stable-slim`, `docker.io/python:3-slim`, `docker.io/bash:4.4` and `docker.io/alpine:latest`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUNNER = """\
#!/bin/sh
# cwltest names files by URI, StreamFlow's cwl-runner wants paths
for argument; do set -- "$@" "${argument#file://}"; shift; done
exec cwl-runner "$@"
"""

NODE = {"cores": 16, "memory": 131072, "gpus": 0}


def streamflow_file(scheduler: str, folder: Path, controller: bool, containers: str) -> Path:
    """A StreamFlow file that binds everything to a fleet."""
    fleet = {
        "cluster": "local",
        "scheduler": scheduler,
        "containers": containers,
        "flavours": {"node": NODE},
        "limits": {"nodes": 4},
        "storage": {"controller": controller},
    }
    config = {
        "version": "v1.0",
        "workflows": {
            "wf": {"type": "cwl", "config": {}, "bindings": [{"step": "/", "target": {"deployment": "fleet"}}]}
        },
        "deployments": {"fleet": {"type": "minicluster", "config": fleet}},
        "database": {"type": "default", "config": {"connection": ":memory:"}},
    }
    path = folder / "streamflow.yml"
    path.write_text(json.dumps(config))
    return path


def main() -> None:
    """Run cwltest with StreamFlow's cwl-runner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--scheduler", default="embedded", choices=["embedded", "flux"])
    parser.add_argument("--local", action="store_true", help="StreamFlow's local connector instead of ours")
    parser.add_argument("--behind-agent", action="store_true", help="files are reached through the agent only")
    parser.add_argument("--containers", default="none", help="the engine that runs the tests' images")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        file = streamflow_file(options.scheduler, Path(folder), not options.behind_agent, options.containers)
        more = [] if options.local else ["--", "--streamflow-file", str(file)]
        tests = str(options.suite / "conformance_tests.yaml")
        runner = Path(folder) / "runner"
        runner.write_text(RUNNER)
        runner.chmod(0o755)
        command = ["cwltest", "--test", tests, "--tool", str(runner), "-j2", *rest, *more]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        sys.exit(subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}).returncode)


if __name__ == "__main__":
    main()
