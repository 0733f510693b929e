import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from container_images import IMAGE

from streamflow_fluxop.containers import Container, ContainerJob, Engine, Image, argv_of
from streamflow_fluxop.containers.detect import PROBE, choose, read_probe

WHO = {"uid": os.geteuid(), "gid": os.getegid()}


@pytest.fixture(params=["podman", "charliecloud"])
def engine(request):
    if request.param == "podman":
        request.getfixturevalue("podman")
        return Engine("podman", "4", runtime="runc", **WHO)
    folder = request.getfixturevalue("charliecloud")
    return Engine("charliecloud", "0.31", images=str(folder), **WHO)


class Place:
    """The directories of a job, as StreamFlow makes them."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.input, self.output, self.temporary = (self.work / n for n in ("input", "output", "temporary"))
        for path in (self.input, self.output, self.temporary):
            path.mkdir(parents=True)

    def job(self, *command: str, **more) -> ContainerJob:
        environment = {"HOME": str(self.output), "TMPDIR": str(self.temporary), **more.pop("environment", {})}
        return ContainerJob(
            "/step/0",
            command,
            environment,
            str(self.output),
            str(self.temporary),
            str(self.input),
            str(self.work),
            python=sys.executable,
            **more,
        )


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


TOOLS = Container(Image(pull=IMAGE))


def run(engine, place, *command, container=TOOLS, stdin=None, **more):
    argv = argv_of(engine, container, place.job(*command, stdin=stdin is not None, **more))
    return subprocess.run(argv, input=stdin or "", cwd=place.output, capture_output=True, text=True, check=False)


def test_the_command_runs_in_the_image(engine, place):
    said = run(engine, place, "only-in-image", "a b", "$HOME", "'\"")
    assert (said.stdout, said.stderr, said.returncode) == ("in the image: a b $HOME '\"\n", "", 0)


@pytest.mark.parametrize("code", [1, 7, 255])
def test_the_exit_code_is_the_commands(engine, place, code):
    assert run(engine, place, "sh", "-c", f"exit {code}").returncode == code


def test_a_command_that_the_image_does_not_have_ends_with_an_error(engine, place):
    said = run(engine, place, "no-such-program")
    assert said.returncode in (1, 127)
    assert "No such file" in said.stderr or "not found" in said.stderr


def test_output_and_errors_stay_apart_and_are_bytes(engine, place):
    argv = argv_of(engine, TOOLS, place.job("sh", "-c", "printf '\\377\\000x'; printf 'no\\nline' >&2"))
    said = subprocess.run(argv, cwd=place.output, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (said.stdout, said.stderr) == (b"\xff\x00x", b"no\nline")


def test_standard_input_is_read(engine, place):
    assert run(engine, place, "cat", stdin="one\ntwo").stdout == "one\ntwo"


def test_it_runs_as_the_user_in_its_output_directory_and_home(engine, place):
    said = run(engine, place, "sh", "-c", 'id -u; pwd; echo "$HOME"; touch made; touch "$TMPDIR/t" /tmp/u; ls /tmp')
    assert said.stdout.splitlines()[:3] == [str(os.geteuid()), str(place.output), str(place.output)], said.stderr
    made = place.output / "made"
    assert made.stat().st_uid == os.geteuid()


def test_its_environment_is_what_the_workflow_says_and_not_the_hosts(engine, place, monkeypatch):
    monkeypatch.setenv("SECRET", "s3cret")
    monkeypatch.setenv("FLUX_TASK_RANK", "3")
    said = run(engine, place, "env", environment={"GREETING": "a b'\"$c\nd"})
    assert "GREETING=a b'\"$c\nd\n" in said.stdout
    assert "FLUX_TASK_RANK=3\n" in said.stdout
    assert "s3cret" not in said.stdout


def test_inputs_that_links_lead_to_are_there_wherever_they_lie(engine, place, tmp_path):
    far = tmp_path / "far, away" / "x"
    far.parent.mkdir()
    far.write_text("far")
    (tmp_path / "hop").symlink_to(far)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inner").symlink_to(far)
    (place.input / "a").symlink_to(tmp_path / "hop")
    (place.input / "b").symlink_to(folder)
    said = run(engine, place, "cat", str(place.input / "a"), str(place.input / "b" / "inner"))
    assert said.stdout == "farfar", said.stderr


def test_inputs_can_not_be_written_unless_the_step_updates_them_in_place(engine, place, tmp_path):
    if engine.name == "charliecloud":
        pytest.skip("charliecloud mounts nothing read-only")
    earlier = place.work / "earlier"
    earlier.mkdir()
    outside = tmp_path / "outside"
    for number, real in enumerate((earlier / "x", outside)):
        real.write_text("before")
        link = place.output / f"in{number}"
        link.symlink_to(real)
        refused = run(engine, place, "sh", "-c", f"echo after >{link}")
        assert refused.returncode
        assert "Read-only file system" in refused.stderr
        inplace = Container(TOOLS.image, inplace_update=True)
        assert run(engine, place, "sh", "-c", f"echo after >{link}", container=inplace).returncode == 0
        assert real.read_text() == "after\n"


def test_the_image_can_not_be_written(engine, place):
    said = run(engine, place, "touch", "/image-only/x")
    assert said.returncode
    assert "Read-only file system" in said.stderr


def test_there_is_no_network_unless_the_step_has_it(engine, place):
    if engine.name == "charliecloud":
        pytest.skip("charliecloud leaves the network as it is")
    said = run(engine, place, "cat", "/proc/net/dev")
    assert set(re.findall(r"(\w+):", said.stdout)) <= {"lo"}
    open_ = run(engine, place, "cat", "/proc/net/dev", container=Container(TOOLS.image, network=True))
    assert re.findall(r"(\w+):", open_.stdout) == re.findall(r"(\w+):", Path("/proc/net/dev").read_text())


def test_docker_output_directory_is_where_the_job_writes(engine, place):
    other = Container(TOOLS.image, output_directory="/image-only/out")
    said = run(
        engine,
        place,
        "sh",
        "-c",
        f'pwd; echo "$HOME" {place.output}/x {place.output}x; touch /image-only/out/made',
        container=other,
    )
    assert said.stdout == f"/image-only/out\n/image-only/out /image-only/out/x {place.output}x\n", said.stderr
    assert (place.output / "made").exists()


def test_what_goes_to_absolute_paths_is_there(engine, place):
    staged = place.temporary / "staged"
    (staged / "opt/data/deep").mkdir(parents=True)
    (staged / "opt/data/deep/x").write_text("staged")
    (staged / "image-only").mkdir()
    (staged / "image-only/y").write_text(" too")
    said = run(engine, place, "cat", "/opt/data/deep/x", f"{staged}/image-only/y", staged=str(staged))
    assert said.stdout == "staged too", said.stderr


def left(text):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if text in line and entry.name != str(os.getpid()):
                found.append(line)
    return found


def gone(text):
    for _ in range(150):
        if not left(text):
            return True
        time.sleep(0.1)
    return False


def test_the_command_gets_the_signals_of_its_job(engine, place):
    script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    argv = argv_of(engine, TOOLS, place.job("sh", "-c", script))
    process = subprocess.Popen(
        argv, cwd=place.output, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout.readline() == b"ready\n"
    time.sleep(1)  # the container may be ahead of its engine
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == b"bye\n"
    assert process.returncode == 3


def test_nothing_is_left_of_a_job_that_was_killed(engine, place):
    mark = f"7{os.getpid()}{time.time_ns() % 10**6}"
    argv = argv_of(engine, TOOLS, place.job("sh", "-c", f"trap '' TERM; echo ready; sleep {mark}"))
    process = subprocess.Popen(
        argv, cwd=place.output, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout.readline() == b"ready\n"
    assert left(f"sleep {mark}")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert gone(mark), left(mark)
    if engine.name == "podman":
        name = next(word for word in json.loads(argv[3])["engine"] if word.startswith("--name="))[7:]
        for _ in range(100):
            if subprocess.run(["podman", "container", "exists", name], check=False).returncode:
                return
            time.sleep(0.1)
        pytest.fail(f"the container {name} is still there")


# engines that may not be here, as words


def words(engine, **more):
    container = Container(Image(pull="debian:12"), **more)
    job = ContainerJob("/a/0.1", ["x", "y z"], {"HOME": "/w/o"}, "/w/o", "/w/t", "/w/i", "/w", gpus=True)
    argv = argv_of(engine, container, job)
    assert argv[:2] == ("python3", "-c")
    assert argv[4:] == ("x", "y z")
    return json.loads(argv[3])


def test_the_words_of_apptainer():
    spec = words(Engine("apptainer", "1.3", images="/w/images"))
    assert " ".join(spec["engine"]) == (
        "apptainer --quiet run --contain --ipc --pid --cleanenv --no-eval --pwd=/w/o --home=/w/o:/w/o "
        "--net --network=none --nv"
    )
    assert spec["image"] == ["/w/images/debian_12.sif"]
    assert spec["env_prefixes"] == ["APPTAINERENV_"]


def test_the_words_of_docker():
    spec = words(Engine("docker", "24", uid=1000, gid=100), network=True)
    assert " ".join(spec["engine"][:4]) == "docker run --rm --pull=never"
    assert spec["engine"][5:] == [
        "--workdir=/w/o", "--read-only", "--init", "--log-driver=none", "--user=1000:100", "--network=host",
        "--gpus=all",
    ]  # fmt: skip
    assert spec["remove"][:3] == ["docker", "rm", "--force"]


# which one works


def test_the_first_engine_that_works_is_taken():
    working, broken = read_probe(
        "podman\tok\t4.3.1 crun\t1000:100\t\ndocker\tbad\tno daemon\t\ncharliecloud\tok\t0.31\t1000:100\t\n"
    )
    assert choose(working, "auto") == Engine("podman", "4.3.1", 1000, 100, runtime="crun")
    assert choose(working, "charliecloud") == Engine("charliecloud", "0.31", 1000, 100)
    assert choose(working, "docker") is None
    assert broken == {"docker": "no daemon"}


def test_the_probe_runs_in_any_shell_and_finds_what_is_here():
    said = subprocess.run(["/bin/sh", "-c", PROBE], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    working, broken = read_probe(said.stdout)
    assert not working.keys() & broken.keys()
