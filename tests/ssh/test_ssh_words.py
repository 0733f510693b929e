"""What is configured for SSH and can't be: said in words, before and at bring-up; no sshd is needed for that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamflow_fluxop.config.ssh import SSHConfig
from streamflow_fluxop.miniclusters.base import MiniClusterError
from streamflow_fluxop.miniclusters.ssh.minicluster import SSHCluster
from streamflow_fluxop.model import Flavour

FLAVOUR = Flavour(cores=2, memory=1024)


async def refusal(config: SSHConfig) -> str:
    with pytest.raises(MiniClusterError) as error:
        await SSHCluster(config, "embedded").minicluster("mc", FLAVOUR, 1).up()
    return str(error.value)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


async def test_an_account_without_a_name_is_told_what_to_write(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_000_000_000)
    assert "this account has no name here: write to `ssh.user` who you are on h" in await refusal(SSHConfig(host="h"))


async def test_no_known_hosts_is_told_with_a_remedy(home: Path) -> None:
    said = await refusal(SSHConfig(host="h", user="me"))
    assert "no known_hosts ~/.ssh/known_hosts that can be read: connect once with `ssh h`" in said


async def test_a_key_that_is_not_there_is_told(home: Path) -> None:
    (home / ".ssh/known_hosts").touch()
    said = await refusal(SSHConfig(host="localhost", user="me", port=1, keys=["~/.ssh/mine"]))
    assert "no key file ~/.ssh/mine that can be read" in said


@pytest.mark.parametrize("file", ["known_hosts", "config", "mine"])
async def test_files_that_are_none_are_told(home: Path, file: str) -> None:
    (home / ".ssh/known_hosts").touch()
    (home / ".ssh/mine").touch()
    (home / ".ssh" / file).write_bytes(b'Port many\n|1|\xff "\n')
    said = await refusal(SSHConfig(host="localhost", user="me", port=1, keys=["~/.ssh/mine"]))
    assert "localhost" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "fields",
    [{"host": "-oProxyCommand=x"}, {"host": "a b"}, {"host": "a\nb"}, {"host": "h", "port": 70000}, {"host": ""}],
)
def test_what_is_no_host_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SSHConfig.model_validate(fields)


values = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=8), max_size=2)
fields = st.dictionaries(st.sampled_from(list(SSHConfig.model_fields)), values)


@settings(max_examples=50)
@given(fields=fields)
def test_any_configuration_is_one_or_is_refused_in_words(fields: dict[str, object]) -> None:
    try:
        SSHConfig.model_validate(fields)
    except ValidationError as error:
        assert error.errors()  # noqa: PT017 - anything else that is raised fails
