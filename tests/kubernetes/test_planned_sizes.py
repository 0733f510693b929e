"""A plan that changes a MiniCluster's size, carried out while jobs run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from namespaces import Namespace
from test_faults import SMALL
from test_kubernetes_run import run, write_files

AFTER_FIRST = {"first": "first/out"}


def step(seconds: int, inputs: dict[str, str]) -> dict[str, Any]:
    """A step with one job, which wants a node for itself and says in which pod it was."""
    hint = {"fluxop:FluxRequirement": {"duration": seconds, "exclusive": True, "group": "all"}}
    tool = {
        "class": "CommandLineTool",
        "baseCommand": ["sh", "-c", f"sleep {seconds}; hostname"],
        "hints": hint,
        "inputs": dict.fromkeys(inputs, "File"),
        "outputs": {"out": {"type": "stdout"}},
    }
    return {"in": inputs, "out": ["out"], "run": tool}


WORKFLOW = {
    "cwlVersion": "v1.2",
    "class": "Workflow",
    "$namespaces": {"fluxop": "urn:fluxop:"},
    "inputs": {},
    "outputs": {name: {"type": "File", "outputSource": f"{name}/out"} for name in ("long", "short")},
    "steps": {"first": step(12, {}), "short": step(10, AFTER_FIRST), "long": step(32, AFTER_FIRST)},
}


async def test_a_minicluster_grows_and_shrinks_as_planned_while_jobs_run(
    namespace: Namespace, shared_volume: Path, tmp_path: Path
) -> None:
    flavour = {**SMALL, "price": 1.0, "bring_up": 7, "tear_down": 4}
    write_files(namespace, shared_volume, tmp_path, flavours={"small": flavour})
    (tmp_path / "workflow.cwl").write_text(yaml.safe_dump(WORKFLOW))
    done = await run(namespace, tmp_path)
    (planned,) = done.of_kind("fleet-started")[0]["plan"]["miniclusters"]
    assert [planned["size"], *(r["size"] for r in planned["resizes"])] == [1, 2, 1]

    grown, shrunk = done.of_kind("minicluster-resized")
    assert (grown["size"], shrunk["size"]) == (2, 1), done.said
    assert [grown.get("reason"), shrunk.get("reason")] == [None, None]
    grows, shrinks = done.of_kind("minicluster-resizing")
    began = {e["job"].split("/")[1]: e["at"] for e in done.of_kind("job-started")}
    ended = {e["job"].split("/")[1]: e for e in done.of_kind("job-ended")}
    assert began["first"] < grows["at"] < ended["first"]["at"]
    assert began["long"] < shrinks["at"] < shrunk["at"] < ended["long"]["at"]
    assert [e["exit_code"] for e in done.of_kind("job-ended")] == [0, 0, 0]  # each ran once, to its end
    assert len(done.of_kind("minicluster-gone")) == 1
