"""A shell of Flux's that can't start, as in an image that lacks one of its libraries, is told in Flux's own words."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from streamflow_fluxop.agent.backends.flux_eventlog import shell_words
from streamflow_fluxop.agent.client.bootstrap import BOOT
from streamflow_fluxop.agent.client.client import AgentClient, JobRequest
from streamflow_fluxop.agent.client.transport import ProcessStream

LACKS = "flux-shell: error while loading shared libraries: liblua5.1.so.0: cannot open shared object file"


SHELL = """#!/bin/sh
# flux-shell [--reconnect] ID
for id; do :; done
spec=$(env -u FLUX_KVS_NAMESPACE flux job info "$id" jobspec)
if echo "$spec" | grep -q FLUX_SHELL_LACKS; then echo "{LACKS}" >&2; exit 127; fi
exec {real} "$@"
"""


@pytest.fixture
def flux_uri() -> Iterator[str]:
    """Of a Flux instance whose shell lacks a library for jobs that have FLUX_SHELL_LACKS among their arguments."""
    if shutil.which("flux") is None:
        pytest.skip("no `flux` on the PATH")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        real = subprocess.check_output(["flux", "config", "builtin", "shell_path"], text=True).strip()
        shell, config = Path(folder, "shell"), Path(folder, "conf.toml")
        shell.write_text(SHELL.format(LACKS=LACKS, real=real))
        shell.chmod(0o755)
        config.write_text(f'[exec]\njob-shell = "{shell}"\n')
        script = 'echo "$FLUX_URI"; exec cat'
        instance = subprocess.Popen(
            ["flux", "start", "-c", str(config), f"--setattr=rundir={folder}", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert instance.stdout is not None
        assert instance.stdin is not None
        yield instance.stdout.readline().strip()
        instance.stdin.close()
        instance.stdout.close()
        instance.wait(20)


@pytest_asyncio.fixture
async def client(flux_uri: str) -> AsyncIterator[AgentClient]:
    env = {**os.environ, "FLUX_URI": flux_uri}
    stream = await ProcessStream.start(["flux", "python", "-u", "-c", BOOT], name="mc", env=env)
    async with AgentClient(stream, name="mc", backend="flux") as client:
        yield client


async def test_what_flux_says_of_a_shell_that_cannot_start_is_told(client: AgentClient) -> None:
    result = await client.run_job(JobRequest(name="1", argv=("true", "FLUX_SHELL_LACKS")))
    assert result.exit_code == 127
    assert result.reason == f"Flux's shell did not start: {LACKS}"


async def test_a_command_that_fails_without_a_word_is_no_shell_that_cannot_start(client: AgentClient) -> None:
    result = await client.run_job(JobRequest(name="2", argv=("sh", "-c", "exit 127")))
    assert (result.exit_code, result.reason, result.output) == (127, None, "")


def test_words_that_all_shells_say_are_said_once() -> None:
    log = '{"name": "log", "context": {"stream": "stderr", "rank": "%d", "data": "no library\\n"}}'
    assert shell_words("\n".join(['{"name": "init"}', log % 0, log % 1, '{"name": "done"}'])) == "no library"
