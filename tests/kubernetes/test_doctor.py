"""`fluxop doctor` says what is missing, and to whom nothing is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from namespaces import RBAC, Namespace
from test_clean import fluxop

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.kubernetes.api import Api
from streamflow_fluxop.miniclusters.kubernetes.doctor import RIGHTS, Right, examine

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: "true"
inputs: {}
outputs: {}
"""


def streamflow_file(folder: Path, image: str, **kubernetes: Any) -> Path:
    (folder / "tool.cwl").write_text(TOOL)
    config = {
        "cluster": "kubernetes",
        "image": image,
        "flavours": {"small": {"cores": 1, "memory": 256}},
        "kubernetes": kubernetes,
    }
    path = folder / "streamflow.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "version": "v1.0",
                "workflows": {
                    "main": {
                        "type": "cwl",
                        "config": {"file": "tool.cwl"},
                        "bindings": [{"step": "/", "target": {"deployment": "fleet"}}],
                    }
                },
                "deployments": {"fleet": {"type": "minicluster", "config": config}},
            }
        )
    )
    return path


def granted() -> set[tuple[str, str, str]]:
    rules = [r for m in yaml.safe_load_all(RBAC.read_text()) for r in m.get("rules", [])]
    return {(v, g, r) for rule in rules for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]}


def without(right: Right) -> list[dict[str, Any]]:
    """The manifest's objects, with this right taken out."""
    manifests = list(yaml.safe_load_all(RBAC.read_text()))
    for manifest in manifests:
        for rule in manifest.get("rules", []):
            if rule["resources"] == [right.resource]:
                rule["verbs"].remove(right.verb)
        if "rules" in manifest:
            manifest["rules"] = [rule for rule in manifest["rules"] if rule["verbs"]]
    return manifests


async def test_with_the_rights_of_the_manifest_all_is_well(
    namespace: Namespace, shared_volume: Path, tmp_path: Path
) -> None:
    volumes = {"work": {"claim": "shared", "path": "/work", "shared": True}}
    file = streamflow_file(tmp_path, namespace.image, volumes=volumes, flux={"view_image": namespace.image})
    code, printed = await fluxop("doctor", str(file), kubeconfig=namespace.kubeconfig)
    assert code == 0, printed
    lines = printed.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["ok"] * len(lines), printed
    assert "claim shared is ReadWriteMany and Bound" in printed
    assert "flavour small: 2 of 2 nodes fit" in printed


async def test_it_says_what_is_wrong_and_what_to_do(namespace: Namespace, tmp_path: Path) -> None:
    volumes = {"work": {"claim": "nowhere", "path": "/work", "shared": True}}
    file = streamflow_file(tmp_path, "localhost/never-seen:1", volumes=volumes)
    code, printed = await fluxop("doctor", str(file), kubeconfig=namespace.kubeconfig)
    assert code == 1
    assert "fail  volume work: claim nowhere is not there" in printed
    assert "warn  image localhost/never-seen:1 is on no node yet" in printed


async def test_a_cluster_that_does_not_answer_is_said_at_once(namespace: Namespace, tmp_path: Path) -> None:
    nowhere = namespace.write_kubeconfig("nobody", "none", server="https://127.0.0.1:1")
    code, printed = await fluxop("doctor", str(streamflow_file(tmp_path, "x")), kubeconfig=nowhere)
    assert code == 1
    assert "cannot reach Kubernetes at https://127.0.0.1:1" in printed


@pytest.mark.parametrize("right", [r for r in RIGHTS if not r.cluster_wide], ids=str)
async def test_a_missing_right_is_named(namespace: Namespace, right: Right) -> None:
    config = KubernetesConfig(kubeconfig=str(await namespace.account("less", without(right))))
    api = Api(config)
    await api.open()
    found = [f async for f in examine(api, config, {}, [])]
    await api.close()
    said = {f.level for f in found if f"no right to {right}" in f.what}
    assert said == {"warn" if right.without else "fail"}, found


def test_the_manifest_grants_what_is_checked() -> None:
    assert {(r.verb, r.group, r.resource) for r in RIGHTS} <= granted()
