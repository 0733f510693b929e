"""The real `streamflow run` on local MiniClusters."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

ECHO = """\
    cwlVersion: v1.2
    class: Workflow
    $namespaces: {cwltool: "http://commonwl.org/cwltool#"}
    requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
    inputs: {names: "string[]"}
    outputs:
      greetings: {type: "File[]", outputSource: greet/out}
      devices: {type: File, outputSource: count/out}
      length: {type: int, outputSource: measure/length}
    steps:
      greet:
        run:
          class: CommandLineTool
          requirements: {DockerRequirement: {dockerPull: "debian:12"}}
          baseCommand: [sh, -c, 'echo "hello $0"; echo noise >&2']
          stdout: greeting.txt
          inputs: {name: {type: string, inputBinding: {}}}
          outputs: {out: {type: stdout}}
        scatter: name
        in: {name: names}
        out: [out]
      measure:
        run:
          class: ExpressionTool
          inputs: {files: "File[]"}
          outputs: {length: int}
          expression: '${return {"length": inputs.files.length};}'
        in: {files: greet/out}
        out: [length]
      count:
        run:
          class: CommandLineTool
          hints:
            cwltool:CUDARequirement: {cudaVersionMin: "11", cudaComputeCapability: "3.0", cudaDeviceCountMin: 2}
          baseCommand: [sh, -c, 'echo "$CUDA_VISIBLE_DEVICES"; cat "$@"', sh]
          stdout: devices.txt
          inputs: {files: {type: "File[]", inputBinding: {}}}
          outputs: {out: {type: stdout}}
        in: {files: greet/out}
        out: [out]
"""

ONE = """\
    cwlVersion: v1.2
    class: Workflow
    inputs: []
    outputs: {{out: {{type: File, outputSource: one/out}}}}
    steps:
      one:
        run:
          class: CommandLineTool
          {requirements}
          baseCommand: [sh, -c, '{script}']
          stdout: out.txt
          inputs: []
          outputs: {{out: {{type: stdout}}}}
        in: []
        out: [out]
"""


def one(world, script, requirements="hints: {}"):
    world.write("wf.cwl", ONE.format(script=script, requirements=requirements))


@pytest.mark.parametrize("storage", [{}, {"controller": False}], ids=["shared files", "files behind the agent"])
def test_steps_run_on_the_miniclusters_of_their_groups(world, storage):
    world.fleet["storage"] = storage
    world.write("wf.cwl", ECHO)
    world.inputs(names=["a b", "c'd", "$HOME", "ü"])
    result = world.run()
    texts = [Path(f["path"]).read_text() for f in result.outputs["greetings"]]
    assert texts == ["hello a b\n", "hello c'd\n", "hello $HOME\n", "hello ü\n"], "and stderr is not among it"
    assert Path(result.outputs["devices"]["path"]).read_text() == "0,1\n" + "".join(texts)
    assert result.outputs["length"] == 4
    assert len(result.said("MiniCluster .* is up")) == 2
    assert len(result.said("MiniCluster .* is gone")) == 2


def test_nothing_comes_up_for_expression_tools(world):
    world.write(
        "wf.cwl",
        """\
        cwlVersion: v1.2
        class: Workflow
        requirements: {InlineJavascriptRequirement: {}}
        inputs: []
        outputs: {x: {type: int, outputSource: e/x}}
        steps:
          e:
            run:
              {class: ExpressionTool, inputs: [], outputs: {x: int}, expression: '${return {"x": 3};}'}
            in: []
            out: [x]
        """,
    )
    result = world.run()
    assert result.outputs == {"x": 3}
    assert not result.said("BRINGING UP")


def test_a_failing_job_ends_the_run_with_its_error_text(world):
    one(world, "echo out; echo the reason >&2; exit 3")
    result = world.run()
    assert result.code == 1
    assert "the reason" in result.err
    assert "Traceback" not in result.err


def test_a_time_limit_kills_the_job(world):
    one(world, "sleep 600 & wait", "requirements: {ToolTimeLimit: {timelimit: 1}}")
    result = world.run(timeout=30)
    assert result.code == 1
    assert "time limit" in result.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_everything(world, number, code):
    several_that_wait(world)
    process = world.start()
    wait_for(world.folder / "started", process)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    if sys.version_info >= (3, 11):  # before, asyncio raises it in the midst of whatever runs, and StreamFlow logs that
        assert "Traceback" not in err, err
        assert "never retrieved" not in err, err
        assert "ERROR" not in err, err
    assert world.left_over() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_ends_everything_too(world, number):
    stubborn = 'trap "" INT TERM; touch FOLDER/started; sleep 600; sleep 600'
    one(world, stubborn.replace("FOLDER", str(world.folder)))
    process = world.start()
    wait_for(world.folder / "started", process)
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.1)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -number, err
    assert "everything is going down already" in err
    assert "Traceback" not in err, err
    assert world.left_over() == []


def several_that_wait(world):
    world.write("wf.cwl", ECHO.replace("'echo ", f"'touch {world.folder}/started; sleep 600; echo "))
    world.inputs(names=["a", "b", "c"])


def test_a_sigterm_ends_everything_where_a_script_lets_nobody_interrupt(world):
    several_that_wait(world)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for what a script starts with `&`
    try:
        process = world.start()
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(world.folder / "started", process)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM, err
    assert "Traceback" not in err, err
    assert world.left_over() == []


def test_a_signal_while_a_minicluster_comes_up_ends_everything(world):
    one(world, "sleep 600")
    process = world.start()
    for line in process.stderr:
        if "BRINGING UP" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT, err
    assert world.left_over() == []


def test_nothing_is_left_when_the_controller_is_killed(world):
    one(world, f"touch {world.folder}/started; sleep 600")
    process = world.start()
    wait_for(world.folder / "started", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert world.left_over() == []


def test_needs_that_only_the_run_knows_choose_another_minicluster_or_are_refused(world):
    requirements = "requirements: {InlineJavascriptRequirement: {}, ResourceRequirement: {coresMin: $(inputs.n)}}"
    text = """\
        cwlVersion: v1.2
        class: Workflow
        requirements: {StepInputExpressionRequirement: {}, InlineJavascriptRequirement: {}}
        inputs: []
        outputs: {out: {type: File, outputSource: use/out}}
        steps:
          choose:
            run:
              class: CommandLineTool
              baseCommand: [echo, "CORES"]
              stdout: n.txt
              inputs: []
              outputs:
                n:
                  type: int
                  outputBinding: {glob: n.txt, loadContents: true, outputEval: '$(parseInt(self[0].contents))'}
            in: []
            out: [n]
          use:
            run:
              class: CommandLineTool
              REQUIREMENTS
              baseCommand: [sh, -c, 'echo $FLUX_JOB_SIZE']
              stdout: out.txt
              inputs: {n: int}
              outputs: {out: {type: stdout}}
            in: {n: choose/n}
            out: [out]
          big:
            run: {class: CommandLineTool, baseCommand: "true", inputs: [], outputs: [],
                  requirements: {ResourceRequirement: {coresMin: 5}}}
            in: []
            out: []
        """.replace("REQUIREMENTS", requirements)
    world.write("wf.cwl", text.replace("CORES", "6"))
    result = world.run()
    assert result.code == 0, result.err
    assert result.said("SUBMITTING job /use/0 to MiniCluster gpu")
    world.write("wf.cwl", text.replace("CORES", "9"))
    result = world.run(timeout=30)
    assert result.code == 1
    assert "no MiniCluster of the fleet can run a job of step /use, which needs 9 cores" in result.err


def wait_for(path, process, patience=30.0):
    end = time.monotonic() + patience
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def test_a_group_whose_lifetime_is_a_job_has_a_minicluster_a_job(world, tmp_path):
    meet = f"touch {tmp_path}/$0; until [ -e {tmp_path}/a ] && [ -e {tmp_path}/b ]; do sleep 0.05; done; "
    world.write("wf.cwl", ECHO.replace("'echo ", f"'{meet}echo "))
    world.inputs(names=["a", "b", "c"])
    world.fleet["groups"] = {"lonely": {"flavour": "cpu", "size": 2, "lifetime": "job"}}
    world.config["workflows"]["wf"]["bindings"].append(
        {"step": "/greet", "target": {"deployment": "fleet", "service": "lonely"}}
    )
    result = world.run()
    texts = [Path(f["path"]).read_text() for f in result.outputs["greetings"]]
    assert texts == ["hello a\n", "hello b\n", "hello c\n"]
    assert len(result.said("lonely-. is up for its one job")) == 3
