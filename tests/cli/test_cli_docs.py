"""What the docs show is what one gets."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_plan_in_the_docs_is_the_plan(world):
    shown = re.search(
        r"\$ fluxop plan --workflow docs/examples/article.yml\n(.*?)\n!\[", (DOCS / "planner.md").read_text(), re.DOTALL
    )
    expected = [line[4:] for line in shown[1].strip("\n").splitlines()]
    result = world.plan("--workflow", DOCS / "examples/article.yml", "--time-limit", "20")
    assert result.out.splitlines()[: len(expected)] == expected


def test_the_documents_in_the_docs_are_read(world):
    workflow, flavours = re.findall(r"```yaml\n(.*?)```", (DOCS / "workflow-document.md").read_text(), re.DOTALL)
    world.write("workflow.yml", workflow)
    world.write("flavours.yml", flavours)
    assert "two-samples: " in world.plan("--workflow", "workflow.yml", "--flavours", "flavours.yml").headline


@pytest.mark.parametrize("command", ["plan", "compare", "verify"])
def test_every_option_is_in_the_docs(world, command):
    told = (DOCS / "planner.md").read_text()
    options = set(re.findall(r"--[a-z][a-z-]+", world.fluxop(command, "--help").out)) - {"--help"}
    assert not [o for o in options if f"`{o}" not in told and f" {o}" not in told and o != "--output"]
