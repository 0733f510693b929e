"""What has succeeded is not run again; and what might not be the same is: the real `streamflow run`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamflow_fluxop.events.reading import newest_log, read_events
from streamflow_fluxop.events.view import RunView

FLUXOP = str(Path(sys.executable).parent / "fluxop")

SCATTER = """\
    cwlVersion: v1.2
    class: Workflow
    requirements: {{ScatterFeatureRequirement: {{}}, InlineJavascriptRequirement: {{}}}}
    inputs: {{files: "File[]"}}
    outputs: {{all: {{type: File, outputSource: join/out}}}}
    steps:
      each:
        run:
          class: CommandLineTool
          requirements: {requirements}
          baseCommand: [sh, -c, '{each}']
          inputs: {{file: {{type: File, inputBinding: {{}}}}}}
          stdout: each.txt
          outputs: {{out: stdout}}
        scatter: file
        in: {{file: files}}
        out: [out]
      join:
        run:
          class: CommandLineTool
          baseCommand: [sh, -c, '{join}']
          inputs: {{files: {{type: "File[]", inputBinding: {{}}}}}}
          stdout: all.txt
          outputs: {{out: stdout}}
        in: {{files: each/out}}
        out: [out]
"""
EACH = 'cat "$0"; echo done'
WAITS = 'cat "$0"; case $(cat "$0") in d) sleep 3;; esac'
JOIN = 'cat "$0" "$@"'


@pytest.fixture(autouse=True)
def _runs(tmp_path, monkeypatch):
    monkeypatch.setenv("FLUXOP_RUNS", str(tmp_path / "runs"))


def scatter(world, texts, each=EACH, join=JOIN, requirements="{}"):
    world.write("wf.cwl", SCATTER.format(each=each, join=join, requirements=requirements))
    for n, text in enumerate(texts):
        if not (world.folder / f"{n}.txt").exists():
            world.write(f"{n}.txt", text)
    world.inputs(files=[{"class": "File", "location": f"{n}.txt"} for n in range(len(texts))])
    world.fleet["reuse"] = True


def counts():
    """Of the newest run: how many jobs ran with success, failed, and did not have to run."""
    view = RunView(read_events(newest_log()))
    found = [fleet.counts for fleet in view.fleets.values()]
    return tuple(sum(getattr(c, what) for c in found) for what in ("done", "failed", "reused"))


def output(world):
    return (world.folder / "out" / "all.txt").read_text()


def resume(world, *words, code=0):
    world.write("streamflow.yml", json.dumps(world.config))
    result = subprocess.run(
        [FLUXOP, "run", "--resume", *words, "--outdir", "out", "streamflow.yml"],
        cwd=world.folder,
        env={**os.environ, "FLUXOP_TEST_TOKEN": world.token},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_only_what_is_missing_runs(world):
    scatter(world, "abc")
    first = world.run().outputs
    assert counts() == (4, 0, 0)
    again = world.run()
    assert counts() == (0, 0, 4)
    assert output(world) == "adone\nbdone\ncdone\n"
    assert again.outputs["all"]["checksum"] == first["all"]["checksum"]
    assert not again.said("BRINGING UP"), "nothing has to run"
    assert again.said("at most 4 of 4 jobs need not run")
    scatter(world, "abcd", join="false")
    assert world.run().code == 1
    assert counts() == (1, 1, 3), "the new input, and the step that fails"
    scatter(world, "abcd", join=JOIN + "; echo end")
    world.run()
    assert counts() == (1, 0, 4), "the step that was mended"
    assert output(world) == "adone\nbdone\ncdone\nddone\nend\n"


def kept_outputs(world, name):
    return sorted(p for p in (world.folder / "work").rglob(name) if p.is_file() and not p.is_symlink())


def test_a_job_runs_again_if_its_input_or_its_output_has_changed(world):
    scatter(world, "abc")
    world.run()
    path = world.folder / "1.txt"
    about = path.stat()
    path.write_text("X")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    world.run()
    assert counts() == (2, 0, 2), "other content, of the same size and time"
    assert output(world) == (said := "adone\nXdone\ncdone\n")
    for spoil in (lambda p: p.unlink(), lambda p: p.write_text("Ydone\n")):
        for kept in kept_outputs(world, "each.txt"):
            spoil(kept)
        result = world.run()
        assert counts() == (3, 0, 1), "their outputs are gone or others; what joins them finds the same files"
        assert output(world) == said
        assert result.said("runs again: what it left in run")


def test_another_command_environment_or_number_of_cores_is_another_job(world):
    scatter(world, "a")
    world.run()
    scatter(world, "a", each='cat "$0"; echo  done')
    world.run()
    assert counts()[2] == 1, "its output is the same, so what joins them need not run"
    scatter(world, "a", requirements="{EnvVarRequirement: {envDef: {X: y}}}")
    world.run()
    assert counts() == (1, 0, 1)
    scatter(world, "a", requirements="{ResourceRequirement: {coresMin: 2}}")
    world.run()
    assert counts() == (1, 0, 1)


REUSE = """\
    cwlVersion: v1.2
    class: Workflow
    requirements: {InlineJavascriptRequirement: {}}
    inputs: []
    outputs: []
    steps:
"""


def test_a_tool_that_does_not_want_to_be_reused_is_not(world):
    says = {
        "yes": "requirements: {WorkReuse: {enableReuse: true}}",
        "no": "requirements: {WorkReuse: {enableReuse: false}}",
        "hint": "hints: {WorkReuse: {enableReuse: false}}",
        "expression": "requirements: {WorkReuse: {enableReuse: $(1 > 2)}}",
        "place": "requirements: {InplaceUpdateRequirement: {inplaceUpdate: true}}",
    }
    tool = "{{class: CommandLineTool, baseCommand: [echo, {}], {}, inputs: [], outputs: []}}"
    steps = [f"{name}: {{run: {tool.format(name, said)}, in: [], out: []}}" for name, said in says.items()]
    world.write("wf.cwl", REUSE + "".join(f"      {step}\n" for step in steps))
    world.fleet["reuse"] = True
    world.run()
    world.run()
    view = RunView(read_events(newest_log()))
    ran = {job.step for fleet in view.fleets.values() for job in fleet.jobs if job.reused is None}
    assert ran == {"/no", "/hint", "/expression", "/place"}


def test_without_reuse_everything_runs_and_what_it_leaves_is_kept_for_resume(world):
    scatter(world, "ab")
    world.fleet["reuse"] = False
    world.run()
    world.run()
    assert counts() == (3, 0, 0)
    resume(world)
    assert counts() == (0, 0, 3)


def test_after_sigkill_only_what_is_missing_runs(world):
    scatter(world, "abcd", each=WAITS)
    process = world.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (world.logs() and counts_now() == 3):
        time.sleep(0.1)
    time.sleep(0.6)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    world.left_over(20)
    resume(world)
    assert counts() == (2, 0, 3)


def counts_now():
    return sum(f.counts.done for f in RunView(read_events(newest_log())).fleets.values())


def test_after_ctrl_c_only_what_is_missing_runs(world):
    scatter(world, "abcd", each=WAITS)
    process = world.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (world.logs() and counts_now() == 3):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    resume(world)
    assert counts() == (2, 0, 3)


REPLICATES = """\
    cwlVersion: v1.2
    class: Workflow
    requirements: {ScatterFeatureRequirement: {}}
    inputs: {n: "int[]"}
    outputs: {all: {type: "File[]", outputSource: draw/out}}
    steps:
      draw:
        run:
          class: CommandLineTool
          baseCommand: [sh, -c, 'head -c 16 /dev/urandom | od -x']
          inputs: {n: int}
          stdout: draw.txt
          outputs: {out: stdout}
        scatter: n
        in: {n: n}
        out: [out]
"""


def test_jobs_of_a_run_that_do_the_same_stay_independent(world):
    world.write("wf.cwl", REPLICATES)
    world.fleet["reuse"] = True
    world.inputs(n=[1, 1])
    first = world.run().outputs["all"]
    assert first[0]["checksum"] != first[1]["checksum"]
    world.inputs(n=[1, 1, 1])
    second = world.run().outputs["all"]
    assert counts() == (1, 0, 2)
    sums = [f["checksum"] for f in second]
    assert len(set(sums)) == 3
    assert {f["checksum"] for f in first} < set(sums)


ODD = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: {d: Directory, f: File}
    outputs:
      link: {type: File, outputSource: odd/link}
      said: {type: File, outputSource: odd/said}
      tree: {type: Directory, outputSource: odd/tree}
      copy: {type: File, outputSource: odd/copy}
    steps:
      odd:
        run:
          class: CommandLineTool
          requirements:
            InitialWorkDirRequirement:
              listing:
                - {entryname: script.sh, entry: "echo from the script; ls $(inputs.d.path)"}
                - {entry: $(inputs.f), entryname: copy.txt, writable: true}
          baseCommand: [sh, -c]
          arguments:
            - valueFrom: >-
                ln -s $(inputs.f.path) link.txt; mkdir -p tree/sub; cp -r $(inputs.d.path)/. tree/sub;
                sh script.sh > said.txt; echo more >> copy.txt; chmod 500 tree/sub;
                echo '{"said": {"class": "File", "path": "'$PWD'/said.txt"},
                "link": {"class": "File", "path": "'$PWD'/link.txt"},
                "copy": {"class": "File", "path": "'$PWD'/copy.txt"},
                "tree": {"class": "Directory", "path": "'$PWD'/tree"}}' > cwl.output.json
          inputs: {d: Directory, f: File}
          outputs: {link: File, said: File, tree: Directory, copy: File}
        in: {d: d, f: f}
        out: [link, said, tree, copy]
"""


def test_links_directories_staged_files_and_outputs_that_name_directories_are_there_again(world):
    (world.folder / "d").mkdir()
    world.write("d/x", "x")
    world.write("f.txt", "f")
    world.write("wf.cwl", ODD)
    world.inputs(d={"class": "Directory", "location": "d"}, f={"class": "File", "location": "f.txt"})
    world.fleet["reuse"] = True
    first = world.run().outputs
    assert counts() == (1, 0, 0)
    for path in kept_outputs(world, "cwl.output.json"):
        old = path.parent
    again = world.run()
    assert counts() == (0, 0, 1)
    assert again.outputs["said"]["checksum"] == first["said"]["checksum"]
    assert (world.folder / "out/link.txt").read_text() == "fmore\n", "it names what was staged"
    assert (world.folder / "out/copy.txt").read_text() == "fmore\n"
    assert (world.folder / "out/tree/sub/x").read_text() == "x"
    new = next(p for p in kept_outputs(world, "cwl.output.json") if p.parent != old)
    assert str(old) not in new.read_text()
    world.write("d/x", "y")
    world.run()
    assert counts() == (1, 0, 0), "what lies in a directory counts"


def test_a_script_that_a_command_names_counts_by_what_it_is(world):
    script = world.write("tool.sh", "echo one")
    scatter(world, "a", each=f"sh {script}")
    world.run()
    world.run()
    assert counts() == (0, 0, 2)
    world.write("tool.sh", "echo two")
    world.run()
    assert counts() == (2, 0, 0)


FLAKY = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: []
    outputs: {o: {type: File, outputSource: flaky/o}}
    steps:
      flaky:
        run:
          class: CommandLineTool
          baseCommand: [sh, -c, '[ -e $HOME/../once ] && echo > out; echo > $HOME/../once']
          inputs: []
          outputs: {o: {type: File, outputBinding: {glob: out}}}
        in: []
        out: [o]
"""


def test_a_job_without_the_outputs_that_are_expected_is_no_result(world):
    world.write("wf.cwl", FLAKY)
    world.fleet["reuse"] = True
    assert world.run().code == 1, "it wrote none, for once"
    assert world.run().outputs["o"]["class"] == "File"
    world.run()
    assert counts() == (0, 0, 1)


def test_files_that_only_the_miniclusters_see_are_reused_too(world):
    scatter(world, "abc")
    world.fleet["storage"] = {"controller": False}
    world.run()
    scatter(world, "abcd")
    world.run()
    assert counts() == (2, 0, 3)
    assert output(world) == "adone\nbdone\ncdone\nddone\n"


def test_resume_says_what_it_can_not_go_on_with(world):
    scatter(world, "a")
    assert "no run of" in resume(world, code=1)
    world.run()
    assert "there is no run" in resume(world, "20200101-000000-abcd", code=1)
    resume(world, newest_log().stem)
    assert counts() == (0, 0, 2)


IN_PLACE = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: []
    outputs: {o: {type: File, outputSource: read/o}}
    steps:
      make:
        run:
          class: CommandLineTool
          baseCommand: [echo, made]
          stdout: file.txt
          inputs: []
          outputs: {o: stdout}
        in: []
        out: [o]
      change:
        run:
          class: CommandLineTool
          requirements:
            InplaceUpdateRequirement: {inplaceUpdate: true}
            InitialWorkDirRequirement: {listing: [{entry: $(inputs.f), writable: true}]}
          baseCommand: [sh, -c, 'echo changed >> file.txt']
          inputs: {f: File}
          outputs: {o: {type: File, outputBinding: {glob: file.txt}}}
        in: {f: make/o}
        out: [o]
      read:
        run:
          class: CommandLineTool
          baseCommand: cat
          inputs: {f: {type: File, inputBinding: {}}}
          stdout: read.txt
          outputs: {o: stdout}
        in: {f: change/o}
        out: [o]
"""


def test_a_file_that_is_changed_in_place_is_made_anew_for_the_next_run(world):
    world.write("wf.cwl", IN_PLACE)
    world.fleet["reuse"] = True
    first = world.run().outputs["o"]["checksum"]
    assert (world.folder / "out/read.txt").read_text() == "made\nchanged\n"
    for _ in range(2):
        assert world.run().outputs["o"]["checksum"] == first
        assert counts() == (2, 0, 1), "to make it, and to change it"
