"""The real `streamflow run` where things turn out otherwise than the plan has them."""

import json
from pathlib import Path

WIDE = """\
    cwlVersion: v1.2
    class: Workflow
    requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
    inputs: {go: {type: boolean, default: false}}
    outputs: {lines: {type: "File[]", outputSource: each/out}, skipped: {type: File?, outputSource: maybe/out}}
    steps:
      names:
        run:
          class: CommandLineTool
          baseCommand: [echo, a, b, c, d, e]
          stdout: names.txt
          inputs: []
          outputs:
            names:
              type: string[]
              outputBinding: {glob: names.txt, loadContents: true, outputEval: '$(self[0].contents.trim().split(" "))'}
        in: []
        out: [names]
      each:
        run: &tool
          class: CommandLineTool
          baseCommand: echo
          stdout: $(inputs.name).txt
          inputs: {name: {type: string, inputBinding: {}}}
          outputs: {out: {type: stdout}}
        scatter: name
        in: {name: names/names}
        out: [out]
      maybe:
        run: *tool
        when: $(inputs.go)
        in: {name: {source: names/names, valueFrom: "$(self[0])"}, go: go}
        out: [out]
"""

FLAKY = """\
    cwlVersion: v1.2
    class: Workflow
    requirements: {ScatterFeatureRequirement: {}}
    inputs: {words: {type: "string[]", default: [a, b, c]}}
    outputs: {out: {type: "File[]", outputSource: flaky/out}}
    steps:
      flaky:
        run:
          class: CommandLineTool
          baseCommand: [sh, -c, 'mkdir "FOLDER/tried-$0" 2>&- && exit 3; echo $0']
          stdout: out.txt
          inputs: {word: {type: string, inputBinding: {}}}
          outputs: {out: {type: stdout}}
        scatter: word
        in: {word: words}
        out: [out]
"""


def test_widths_that_only_the_run_knows_and_steps_that_are_skipped(world):
    world.write("wf.cwl", WIDE)
    result = world.run()
    assert result.code == 0, result.err
    assert [Path(f["path"]).read_text() for f in result.outputs["lines"]] == ["a\n", "b\n", "c\n", "d\n", "e\n"]
    assert result.outputs["skipped"] is None
    assert len(result.said("BRINGING UP")) == len(result.said("MiniCluster .* is gone"))


def retries(most):
    """StreamFlow's failure manager."""
    return {"enabled": True, "type": "default", "config": {"max_retries": most, "retry_delay": 0}}


def test_failed_jobs_are_tried_again_by_streamflow_s_failure_manager(world):
    world.write("wf.cwl", FLAKY.replace("FOLDER", str(world.folder)))
    world.config["failureManager"] = retries(2)
    result = world.run()
    assert result.code == 0, result.err
    assert sorted(Path(f["path"]).read_text() for f in result.outputs["out"]) == ["a\n", "b\n", "c\n"]
    assert len(result.said("SUBMITTING job /flaky")) == 6


def test_a_job_that_is_tried_again_needs_what_it_needed_before(world):
    gpu = """hints: {ResourceRequirement: {coresMin: 2}, "fluxop:FluxRequirement": {gpusPerTask: 1}}
          baseCommand: [sh, -c, 'echo $CUDA_VISIBLE_DEVICES; mkdir "FOLDER/tried-$0" 2>&- && exit 3; exit 0']"""
    cpu = "baseCommand: [sh, -c, 'echo no GPU']"
    old = """baseCommand: [sh, -c, 'mkdir "FOLDER/tried-$0" 2>&- && exit 3; echo $0']"""
    text = FLAKY.replace(old, gpu).replace("FOLDER", str(world.folder)).replace("[a, b, c]", "[a]")
    world.write("wf.cwl", text.replace("class: W", '$namespaces: {fluxop: "urn:fluxop:"}\n    class: W', 1))
    world.write("other.cwl", FLAKY.replace(old, cpu).replace("[a, b, c]", "[a]"))
    (workflow,) = world.config["workflows"].values()
    world.config["workflows"]["other"] = {**workflow, "config": {"file": "other.cwl"}}
    world.config["failureManager"] = retries(3)
    result = world.run()
    assert result.code == 0, result.err
    places = result.said(r"SUBMITTING job /flaky/0.0 to MiniCluster (\w+)")
    assert places == ["gpu", "gpu", "cpu"], "the first workflow's twice, then that of the other"
    (log,) = result.said(r"its events are in (\S+)")
    asked = [e for e in map(json.loads, Path(log).read_text().splitlines()) if e["event"] == "job-asked"]
    assert [(e["step"], e["gpus"]) for e in asked] == [(asked[0]["step"], 1)] * 2 + [(asked[2]["step"], 0)]


def test_two_workflows_of_one_file_have_one_fleet_and_one_plan(world):
    world.write("wf.cwl", WIDE)
    world.write("other.cwl", WIDE)
    (workflow,) = world.config["workflows"].values()
    world.config["workflows"]["other"] = {**workflow, "config": {"file": "other.cwl"}}
    world.fleet["limits"] = {"nodes": 1}
    result = world.run()
    assert result.code == 0, result.err
    assert len(result.said("PLAN of the fleet")) == 1
    assert len(result.said("SUBMITTING job /each/0.0 ")) == 2
    assert len(result.said("MiniCluster .* is gone")) == len(result.said("BRINGING UP"))
