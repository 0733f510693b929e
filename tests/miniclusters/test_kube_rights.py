"""The recipe of docs/rbac.md, and what is said where a right is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_asyncio.client import ApiException
from typer.testing import CliRunner

from streamflow_fluxop.cli import app
from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.kubernetes.api import Api
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError, NoRight
from streamflow_fluxop.miniclusters.kubernetes.rbac import rights

ROOT = Path(__file__).parents[2]


def recipe(namespace: str) -> list[dict[str, Any]]:
    """What the command of the docs applies for a namespace."""
    (command,) = re.findall(
        r"fluxop (manifests rbac --namespace yours) \| kubectl", (ROOT / "docs/rbac.md").read_text()
    )
    done = CliRunner().invoke(app, command.replace("yours", namespace).split(), catch_exceptions=False)
    return list(yaml.safe_load_all(done.stdout))


def key(manifest: dict[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def test_the_recipe_for_a_second_namespace_leaves_the_first_one_its_rights() -> None:
    first, second = recipe("one"), recipe("two")
    again = {key(m): m for m in second}
    assert [m["kind"] for m in first if key(m) in again] == ["ClusterRole"], "what both apply is one object"
    assert all(m == again[key(m)] for m in first if key(m) in again), "and it is the same"
    assert {s["namespace"] for m in second for s in m.get("subjects", [])} == {"two"}
    assert {s["namespace"] for m in yaml.safe_load_all(rights()) for s in m.get("subjects", [])} == {"fluxop"}


def test_a_name_that_no_namespace_can_have_is_refused() -> None:
    for name in ("Mine", "a_b", "-a", "a" * 64, "", "a\nkind: Secret"):
        done = CliRunner().invoke(app, ["manifests", "rbac", "--namespace", name])
        assert (done.exit_code, done.stdout) == (2, ""), name
        assert "small letters, digits and dashes" in done.stderr


def said(message: str, verb: str = "create", resource: str = "pods") -> KubernetesError:
    error = ApiException(status=403)
    error.body = json.dumps({"message": message})
    return Api(KubernetesConfig(namespace="here")).in_words(verb, resource, error)


def test_a_missing_right_is_told_as_a_right() -> None:
    error = said(
        'pods is forbidden: User "denied" cannot create resource "pods" in API group "" in the namespace "here"'
    )
    assert isinstance(error, NoRight)
    assert str(error).startswith("no right to create pods in namespace here: ")
    nodes = said(
        'nodes is forbidden: User "me" cannot list resource "nodes" in API group "" at the cluster scope',
        "list",
        "nodes",
    )
    assert str(nodes).startswith("no right to list nodes: ")


def test_a_stream_that_is_forbidden_without_a_word_is_a_missing_right() -> None:
    error = ApiException(status=403, reason="Invalid response status")
    told = Api(KubernetesConfig(namespace="here")).in_words("get and create", "pods/exec", error)
    assert isinstance(told, NoRight)


@pytest.mark.parametrize(
    "message",
    [
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
        'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 4',
        'pods "x" is forbidden: exceeded quota: q, requested: cpu=4, used: cpu=0, limited: cpu=2',
        'admission webhook "w" denied the request: no',
        'pods "x" is forbidden: error looking up service account here/y: serviceaccount "y" not found',
    ],
)
def test_what_admission_refuses_is_no_missing_right(message: str) -> None:
    error = said(message)
    assert not isinstance(error, NoRight)
    assert str(error) == f"Kubernetes refuses to create pods: {message}"
