"""Other users of the machine: what is ours is for us alone, and who takes a name first changes nothing."""

import json
import os
import stat
import tempfile

import pytest

from streamflow_fluxop.agent.remote.rendezvous import Meeting
from streamflow_fluxop.cli.files import file_name
from streamflow_fluxop.events.writing import EventLog
from streamflow_fluxop.miniclusters.environment import job_environment
from streamflow_fluxop.miniclusters.local import flavour_config
from streamflow_fluxop.model import Flavour
from streamflow_fluxop.private import work_folder


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    work_folder.cache_clear()
    yield folder
    work_folder.cache_clear()


def test_event_logs_are_the_owner_s_alone(tmp_path):
    os.umask(os.umask(0o022))
    EventLog(tmp_path / "runs" / "r.jsonl").close()
    assert mode(tmp_path / "runs") == 0o700
    assert mode(tmp_path / "runs" / "r.jsonl") == 0o600


def test_the_work_folder_is_a_user_s_own(temporary):
    folder = work_folder()
    assert folder == str(temporary / f"streamflow-{os.getuid()}")
    assert mode(folder) == 0o700


@pytest.mark.parametrize("kind", ["a file", "a link", "a link to nothing"])
def test_who_takes_its_name_first_neither_stops_us_nor_gets_in(temporary, kind):
    taken = temporary / f"streamflow-{os.getuid()}"
    theirs = temporary / "theirs"
    if kind == "a file":
        taken.touch()
    else:
        taken.symlink_to(theirs)
        if kind == "a link":
            theirs.mkdir()
    folder = work_folder()
    assert folder != str(taken)
    assert mode(folder) == 0o700
    assert os.path.dirname(folder) == str(temporary)
    assert folder == work_folder()


@pytest.mark.parametrize("kind", ["a file", "a link", "open to all"])
def test_an_agent_s_place_is_another_where_somebody_has_taken_the_first(tmp_path, monkeypatch, kind):
    first = tmp_path / "t"
    first.mkdir()
    runtime = tmp_path / "r"
    runtime.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(first))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    taken = first / f"fluxop-{os.getuid()}"
    if kind == "a file":
        taken.touch()
    elif kind == "a link":
        taken.symlink_to(runtime)
    else:
        taken.mkdir()
        taken.chmod(0o777)
    session = "a" * 32
    meeting, again = Meeting(session), Meeting(session)
    assert not meeting.folder.startswith(str(taken))
    assert mode(meeting.folder) == 0o700
    assert again.folder == meeting.folder
    again.leave(forget=False)
    meeting.leave(forget=True)


def test_jobs_get_what_they_need_to_start_and_no_secret_of_the_controller_s():
    ours = {
        "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "LD_LIBRARY_PATH": "/l", "CONDA_PREFIX": "/c", "FLUX_URI": "u",
        "AWS_SECRET_ACCESS_KEY": "s", "KUBECONFIG": "k", "SSH_AUTH_SOCK": "a", "OMP_NUM_THREADS": "4", "GIT_TOKEN": "t",
    }  # fmt: skip
    kept = {"PATH", "HOME", "LC_ALL", "LD_LIBRARY_PATH", "CONDA_PREFIX", "FLUX_URI"}
    assert job_environment(ours=ours).keys() == kept
    assert job_environment(["OMP_*", "GIT_TOKEN"], ours).keys() == kept | {"OMP_NUM_THREADS", "GIT_TOKEN"}
    assert job_environment(["*"], ours) == ours


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "..", ".", ".bashrc", "a/b", "a\0b", "-rf", "ü", "x" * 5000, "a\nb", ""]
)
def test_names_from_documents_stay_in_the_folder(tmp_path, name):
    found = file_name(name)
    (tmp_path / f"{found}.yaml").touch()
    assert [p.parent for p in tmp_path.rglob("*.yaml")] == [tmp_path]
    assert not found.startswith((".", "-"))


def test_different_names_are_different_files_and_plain_ones_stay():
    assert file_name("a/b") != file_name("a-b") == "a-b"
    assert file_name("cpu-2") == "cpu-2"


def test_a_name_is_no_part_of_flux_s_configuration():
    text = flavour_config('x"]\n[exec]\nimp = "/tmp/evil', Flavour(cores=1, memory=1), 2)
    assert "[exec]" not in text
    assert text.count("\n") == 5


def test_manifests_of_hostile_names_stay_in_their_folder(tmp_path, capsys):
    from typer.testing import CliRunner

    from streamflow_fluxop.cli import app

    problem = {
        "workflow": {"name": "../../w", "steps": [{"name": "../s", "duration": {"seconds": 5}, "group": "../../../g"}]},
        "flavours": {"../../../f": {"cores": 1, "memory": 1}},
    }
    (tmp_path / "p.json").write_text(json.dumps(problem))
    folder = tmp_path / "a" / "b" / "c"
    options = ["plan", "--workflow", str(tmp_path / "p.json"), "--manifests", str(folder), "--time-limit", "0.5"]
    assert CliRunner().invoke(app, options).exit_code == 0
    written = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "p.json"]
    assert written
    assert {p.parent for p in written} == {folder}
