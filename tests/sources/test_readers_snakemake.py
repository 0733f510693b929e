"""Snakemake's jobs become steps; with the real Snakemake where it is installed, else from what it would tell."""

import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop.errors import UserError
from streamflow_fluxop.model import Dependency, Duration, Step
from streamflow_fluxop.sources import read, snakemake
from streamflow_fluxop.sources.merging import SingleJob, merge

SNAKEFILE = """\
SAMPLES = ["a", "b", "c"]
rule all:
    input: "report.txt"
rule align:
    output: "aln/{s}.bam"
    threads: 4
    resources: mem_mb=2000, runtime=30, fluxop_image="bwa:1"
    shell: "touch {output}"
rule call:
    input: "aln/{s}.bam"
    output: "vcf/{s}.vcf"
    resources: gpu=2, tasks=2, nodes=1
    shell: "touch {output}"
rule merge:
    input: expand("vcf/{s}.vcf", s=SAMPLES)
    output: "report.txt"
    shell: "cat {input} > {output}"
"""


def told(id, rule, output, input=(), threads=1, checkpoint=False, **resources):
    """What Snakemake tells of a job."""
    return {
        "id": id,
        "rule": rule,
        "threads": threads,
        "input": list(input),
        "output": list(output),
        "resources": resources,
        "checkpoint": checkpoint,
    }


TOLD = [
    told(0, "all", [], ["report.txt"]),
    told(1, "merge", ["report.txt"], ["vcf/a.vcf", "vcf/b.vcf", "vcf/c.vcf"]),
    *(told(2 + i, "call", [f"vcf/{s}.vcf"], [f"aln/{s}.bam"], gpu=2, tasks=2, nodes=1) for i, s in enumerate("cab")),
    *(
        told(5 + i, "align", [f"aln/{s}.bam"], threads=4, mem_mib=1908, runtime=30, fluxop_image="bwa:1")
        for i, s in enumerate("abc")
    ),
]


@pytest.mark.parametrize(("flavours", "told"), [(None, "--flavours"), ("none.yml", "none.yml")])
def test_flavours_that_are_missing_are_told_before_the_dry_run(tmp_path, monkeypatch, flavours, told):
    monkeypatch.setattr(snakemake, "read_snakefile", lambda path: pytest.fail("it takes seconds"))
    with pytest.raises(UserError, match=told):
        read(workflow=tmp_path / "Snakefile", flavours=flavours and tmp_path / flavours)


@pytest.fixture
def snakefile(tmp_path):
    path = tmp_path / "Snakefile"
    path.write_text(SNAKEFILE)
    (tmp_path / "flavours.yml").write_text("flavours: {gpu: {cores: 8, memory: 8192, gpus: 2}}\n")
    return path


def check(source):
    steps = {s.name: s for s in source.problem.workflow.steps}
    assert set(steps) == {"align", "call", "merge"}
    align, call, join = steps["align"], steps["call"], steps["merge"]
    assert (align.width, align.needs.cores_per_task, align.needs.memory, align.image) == (3, 4, 1908, "bwa:1")
    assert align.duration == Duration(seconds=1800, source="time limit")
    assert (call.width, call.needs.tasks, call.needs.gpus_per_task, call.needs.nodes) == (3, 2, 1, 1)
    assert call.after == [Dependency(step="align", each=True)]
    assert (join.width, join.after, join.duration.source) == (1, [Dependency(step="call")], "assumed")
    assert "assumed to take 60 s" in source.notes[0]


def test_jobs_of_a_rule_become_a_step(snakefile, monkeypatch):
    monkeypatch.setattr(snakemake, "_dry_run", lambda path: TOLD)
    check(read(workflow=snakefile, flavours=snakefile.parent / "flavours.yml")[0])


@pytest.mark.skipif(
    not (shutil.which("snakemake") or Path(sys.executable).with_name("snakemake").exists()),
    reason="there is no snakemake on the PATH",
)
def test_the_real_snakemake_tells_the_same(snakefile):
    check(read(workflow=snakefile, flavours=snakefile.parent / "flavours.yml")[0])
    snakefile.write_text(SNAKEFILE + "nonsense here\n")
    with pytest.raises(UserError, match="Snakemake refuses it"):
        read(workflow=snakefile, flavours=snakefile.parent / "flavours.yml")


def test_without_snakemake_it_says_how_to_get_it(snakefile, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(snakefile))
    with pytest.raises(UserError, match=r"streamflow-fluxop\[snakemake\]"):
        read(workflow=snakefile, flavours=snakefile.parent / "flavours.yml")


def test_what_a_checkpoint_hides_is_said(snakefile, monkeypatch):
    monkeypatch.setattr(snakemake, "_dry_run", lambda path: [told(1, "split", ["parts"], checkpoint=True)])
    _, notes = snakemake.read_snakefile(snakefile)
    assert "checkpoints split" in notes[-1]


def jobs(text, kind=lambda name: name.rstrip("0123456789")):
    """Jobs from `b1 < a1; b2 < a1 a2`: each with those that it waits for."""
    made = []
    for part in text.split(";"):
        name, _, before = part.partition("<")
        one = Step(name="x", duration=Duration(seconds=1))
        made.append(SingleJob(name.strip(), kind(name.strip()), one, tuple(before.split())))
    return made


def shape(steps):
    return {s.name: (s.width, [(d.step, d.each) for d in s.after]) for s in steps}


def test_jobs_that_wait_for_the_same_are_a_step():
    found = shape(merge(jobs("a; b1 < a; b2 < a; c < b1 b2")))
    assert found == {"a": (1, []), "b": (2, [("a", False)]), "c": (1, [("b", False)])}


def test_chains_side_by_side_are_steps_job_by_job_in_whatever_order():
    found = shape(merge(jobs("a1; a2; b2 < a2; b1 < a1; c1 < b1 a1; c2 < b2 a2")))
    assert found == {"a": (2, []), "b": (2, [("a", True)]), "c": (2, [("b", True), ("a", True)])}


def test_what_a_step_can_not_say_stays_single_jobs():
    found = shape(merge(jobs("a1; a2; a3; b1 < a1 a2; b2 < a2 a3")))
    assert all(width == 1 for width, _ in found.values())
    assert sum(len(after) for _, after in found.values()) == 4


@st.composite
def graphs(draw):
    """Layers of jobs of a few rules, each waiting for any jobs of earlier layers."""
    made = []
    for index in range(draw(st.integers(1, 12))):
        earlier = [j.name for j in made]
        after = draw(st.sets(st.sampled_from(earlier), max_size=4)) if earlier else set()
        one = Step(name="x", duration=Duration(seconds=1))
        made.append(SingleJob(f"j{index}", draw(st.sampled_from("abc")), one, tuple(sorted(after))))
    return made


@given(graphs())
def test_merging_neither_adds_nor_drops_a_wait(made):
    steps = {s.name: s for s in merge(made)}
    assert sum(s.width for s in steps.values()) == len(made)
    waits = sum(s.width * (1 if d.each else steps[d.step].width) for s in steps.values() for d in s.after)
    assert waits == sum(len(j.after) for j in made)


def test_rounds_of_one_rule_stay_single_jobs():
    found = shape(merge(jobs("a0; a1 < a0; a2 < a1")))
    assert found == {"a_1": (1, []), "a_2": (1, [("a_1", False)]), "a_3": (1, [("a_2", False)])}
