"""`fluxop plan` says what will be brought up, when, for what, at what cost, and how it knows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FLUXOP = str(Path(sys.executable).parent / "fluxop")


def test_a_streamflow_file_is_planned(world):
    result = world.plan("streamflow.yml")
    assert result.headline.startswith("wf on fleet: 1 MiniCluster, 3 min, cost ")
    assert result.row("limit 4 nodes")
    assert result.row("fetch 4 2 cores, 256 MiB (default) 1 min 40 s (hint)")
    assert result.row("train 1 1 core, 256 MiB (defaults) 1 min (assumed)")


def test_the_plan_of_the_article_is_the_known_optimum(world):
    result = world.plan("--workflow", Path(__file__).parents[2] / "docs/examples/article.yml", "--time-limit", "20")
    assert result.headline.startswith("article: 3 MiniClusters, 42 min, cost 24 720")
    assert result.row("per-step") == "per-step 4 5 760 25 080 48 min"
    assert result.row("single") == "single 1 5 160 41 280 42 min"


def test_the_first_line_says_what_is_guessed(world):
    assert "; guessed: 33 % of the longest chain and " in world.plan("streamflow.yml").headline
    world.write(
        "fetch.cwl",
        Path("train.cwl")
        .read_text()
        .replace('files: "File[]"', "name: string")
        .replace("outputs: []", "outputs: {file: stdout}"),
    )
    assert " if every job takes 60 s, as 5 of 5 were assumed to; " in world.plan("streamflow.yml").headline


def test_a_step_whose_condition_is_false_is_shown_as_skipped(world):
    text = Path("wf.cwl").read_text().replace("requirements: {", "requirements: {InlineJavascriptRequirement: {}, ")
    world.write("wf.cwl", text.replace("  train:\n", "  train:\n    when: $(1 > 2)\n"))
    result = world.plan("streamflow.yml", "-o", "plan.json")
    assert result.row("train") == "train 0 skipped"
    assert "1 step never runs" in result.out
    assert [s["skipped"] for s in json.loads(Path("plan.json").read_text())["problem"]["workflow"]["steps"]] == [
        False,
        True,
    ]


def test_both_extremes_and_the_bounds_stand_beside_it(world):
    result = world.plan("streamflow.yml")
    for name in ("this plan", "per-step", "single", "no plan is below"):
        assert result.row(name)


def test_it_says_where_every_number_comes_from_and_why_each_minicluster_is_there(world):
    out = world.plan("streamflow.yml").out
    assert "durations of 1 of 2 steps come from hints in the workflow" in out
    assert "durations of 1 of 2 steps come from nothing: they are assumed (/train)" in out
    assert "widths of 1 of 2 steps come from the inputs" in out
    assert "asked for 20 s before" in out


def test_equal_seeds_print_equal_plans(world):
    first, second = (world.plan("--workflow", "article.json", "--seed", "3") for _ in range(2))
    assert first.out == second.out


def test_without_a_terminal_there_are_no_colours_and_no_cut_words(world):
    name = "a-step-with-a-name-that-no-terminal-of-eighty-columns-has-room-for-in-a-table"
    steps = [{"name": name, "duration": {"seconds": 10}}]
    problem = json.loads(Path("article.json").read_text())
    world.write("long.json", {**problem, "workflow": {"steps": steps}})
    out = world.plan("--workflow", "long.json").out
    assert "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())
    assert out.count(name) >= 3


def test_a_limit_replaces_the_files(world):
    assert world.plan("streamflow.yml", "--limit", "nodes=1").row("limit 1 nodes")
    assert world.plan("streamflow.yml", "--limit", "nodes=3,miniclusters=1", "--limit", "cores=4").code == 0


def test_the_objective_changes_the_plan(world):
    cheap = world.plan("--workflow", "article.json", "--objective", "cost", "-o", "cheap.json")
    quick = world.plan("--workflow", "article.json", "--objective", "makespan", "-o", "quick.json")
    assert cheap.code == quick.code == 0
    cheap, quick = (json.loads(Path(f"{name}.json").read_text()) for name in ("cheap", "quick"))
    assert cheap["cost"] <= quick["cost"]
    assert quick["makespan"] <= cheap["makespan"]


def test_a_strategy_can_be_chosen(world):
    result = world.plan("--workflow", "article.json", "--strategy", "single")
    assert result.row("this plan 1")


def test_what_is_said_on_the_command_line_goes_before_what_the_file_says(world):
    text = Path("streamflow.yml").read_text()
    options = "plan: {strategy: per-step, objective: cost, weight: 0.2, seed: 3}\n      cluster: local"
    world.write("said.yml", text.replace("cluster: local", options))
    own = ("--strategy", "auto", "--objective", "balanced", "--weight", "0.5", "--seed", "0")
    assert world.plan("said.yml", "-o", "file.json").code == 0
    assert world.plan("said.yml", *own, "-o", "own.json").code == 0
    plans = [json.loads(Path(name).read_text()) for name in ("file.json", "own.json")]
    assert [len(p["miniclusters"]) for p in plans] == [2, 1]
    assert [p["seed"] for p in plans] == [3, 0]
    wanted = [(p["problem"]["objective"]["goal"], p["problem"]["objective"]["weight"]) for p in plans]
    assert wanted == [("cost", 0.2), ("balanced", 0.5)]


def test_a_file_that_plans_nothing_says_so(world):
    text = Path("streamflow.yml").read_text()
    world.write("dynamic.yml", text.replace("cluster: local", "plan: {strategy: dynamic}\n      cluster: local"))
    assert "the file says `strategy: dynamic`: a run has no plan" in world.plan("dynamic.yml").out


def test_every_fleet_and_workflow_is_planned(world):
    text = Path("streamflow.yml").read_text()
    fleet = text[text.index("  fleet:") :]
    text = text.replace(
        "target: {deployment: fleet}\n",
        "target: {deployment: fleet}\n      - step: /train\n        target: {deployment: other}\n",
    )
    world.write("two.yml", text + fleet.replace("  fleet:", "  other:"))
    result = world.plan("two.yml", "-o", "plan.json")
    assert "wf on fleet: " in result.out
    assert "wf on other: " in result.out
    assert {p.name for p in world.folder.glob("plan*.json")} == {"plan-wf-fleet.json", "plan-wf-other.json"}
    assert "wf on fleet" not in world.plan("two.yml", "--deployment", "other").out


@pytest.mark.parametrize("ending", ["json", "svg", "png", "html"])
def test_plan_and_pictures_are_written(world, ending):
    result = world.plan("streamflow.yml", "-o", f"plan.{ending}")
    assert f"wrote plan.{ending}" in result.out
    start = {"json": b"{", "svg": b"<?xml", "png": b"\x89PNG", "html": b"<!doctype html>"}[ending]
    assert Path(f"plan.{ending}").read_bytes().startswith(start)


def test_manifests_are_written_a_file_a_minicluster(world):
    assert world.plan("--workflow", "article.json", "--manifests", "out/deep").code == 0
    texts = [p.read_text() for p in Path("out/deep").glob("*.yaml")]
    assert len(texts) >= 2
    assert all(t.startswith("apiVersion: flux-framework.org/v1alpha2\nkind: MiniCluster\n") for t in texts)
    assert not any("&id" in t for t in texts)


def test_manifests_that_lack_an_image_say_so(world):
    assert "no image is known for cpu-1" in world.plan("streamflow.yml", "--manifests", "out").out
    text = Path("streamflow.yml").read_text()
    world.write("with-image.yml", text.replace("cluster: local", "image: debian\n      cluster: local"))
    assert "no image" not in world.plan("with-image.yml", "--manifests", "out").out


def test_flavours_come_from_a_file_of_their_own_or_a_fleet(world):
    world.write("steps.yml", "steps: [{name: a, duration: {seconds: 10}}]\n")
    world.write("flavours.yml", "flavours: {tiny: {cores: 1, memory: 100}}\nlimits: {nodes: 1}\n")
    assert "tiny" in world.plan("--workflow", "steps.yml", "--flavours", "flavours.yml").out
    assert "cpu-1" in world.plan("--workflow", "steps.yml", "--flavours", "streamflow.yml").out


@pytest.mark.parametrize(("text", "seconds"), [("3000", 3000), ("3000s", 3000), ("50m", 3000), ("1h30m", 5400)])
def test_times_are_written_as_people_write_them(world, text, seconds):
    assert world.plan("--workflow", "article.json", "--deadline", text, "-o", "plan.json").code == 0
    assert json.loads(Path("plan.json").read_text())["problem"]["objective"]["deadline"] == seconds


def test_the_version(world):
    assert world.fluxop("--version").out.startswith("fluxop 0.")


def test_as_a_command_it_writes_its_files_even_if_nobody_reads_its_output(world):
    command = f"{FLUXOP} plan streamflow.yml --no-history --time-limit 0.2 -o plan.svg | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("wf on fleet")
    assert Path("plan.svg").exists()


def test_in_a_locale_without_unicode_it_draws_with_letters(world):
    done = subprocess.run(
        [FLUXOP, "plan", "streamflow.yml", "--no-history", "--time-limit", "0.2"],
        env={"PYTHONIOENCODING": "ascii", "HOME": str(world.folder)},
        capture_output=True,
        check=True,
    )
    assert "1 x cpu" in done.stdout.decode("ascii") or "2 x cpu" in done.stdout.decode("ascii")
    assert ":" in done.stdout.decode("ascii")


def test_starting_the_command_imports_nothing_heavy():
    code = "import sys, streamflow_fluxop.cli; print([m for m in sys.modules if m.split('.')[0] in %r])"
    heavy = ("streamflow", "matplotlib", "networkx", "pydantic", "ruamel", "ortools", "numpy")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    # typer itself may use pydantic
    assert not [m for m in json.loads(done.stdout.replace("'", '"')) if not m.startswith("pydantic")]
