"""A kubeconfig that is no way into Kubernetes: one message with the file, the name, and what there is."""

import asyncio
import os

import pytest
import yaml
from kubernetes_asyncio.client import Configuration

from streamflow_fluxop.config.kubernetes import KubernetesConfig
from streamflow_fluxop.miniclusters.kubernetes.errors import KubernetesError
from streamflow_fluxop.miniclusters.kubernetes.kubeconfig import load

NO_CURRENT = {"current-context": ""}
NO_SERVER = {"clusters": [{"name": "lab", "cluster": {}}]}
NO_CA = {"clusters": [{"name": "lab", "cluster": {"server": "https://lab", "certificate-authority": "/no/ca"}}]}


def document(**changed):
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": "https://lab:6443"}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [
            {"name": "prod", "context": {"cluster": "lab", "user": "me", "namespace": "work"}},
            {"name": "dev", "context": {"cluster": "lab", "user": "me"}},
        ],
        "current-context": "dev",
    }
    return yaml.safe_dump({**whole, **changed})


@pytest.fixture
def kubeconfig(tmp_path):
    """Writes a kubeconfig, and gives its path."""

    def write(text, name="kubeconfig"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def loaded(path, **more):
    configuration = Configuration()
    namespace = asyncio.run(load(KubernetesConfig(kubeconfig=str(path), **more), configuration))
    return configuration, namespace


def refusal(path, **more):
    with pytest.raises(KubernetesError) as refused:
        loaded(path, **more)
    message = str(refused.value)
    assert str(path) in message
    assert "\n" not in message
    return message.replace(str(path), "FILE")


def test_the_current_context_or_the_one_that_is_named(kubeconfig):
    path = kubeconfig(document())
    configuration, namespace = loaded(path)
    assert (configuration.host, namespace) == ("https://lab:6443", None)
    assert loaded(path, context="prod")[1] == "work"


def test_a_named_context_does_without_a_current_one(kubeconfig):
    assert loaded(kubeconfig(document(**{"current-context": ""})), context="prod")[1] == "work"


@pytest.mark.parametrize(
    ("changed", "context", "said"),
    [
        ({}, "production", "the kubeconfig FILE has no context production; it has dev, prod"),
        ({"current-context": "gone"}, None, "the kubeconfig FILE has no context gone; it has dev, prod"),
        (
            {"current-context": ""},
            None,
            "the kubeconfig FILE has no current context; `context` may name one: dev, prod",
        ),
        ({"contexts": []}, "dev", "the kubeconfig FILE has no context dev; there is none in it"),
        ({"clusters": []}, None, "the kubeconfig FILE: its context dev wants the cluster lab; there is none in it"),
        ({"users": []}, None, "the kubeconfig FILE: its context dev wants the user me; there is none in it"),
        ({"contexts": "dev"}, None, "the kubeconfig FILE is none: its contexts are no list of entries with a name"),
        (NO_SERVER, None, "the kubeconfig FILE: its cluster lab has no server"),
        (NO_CA, None, "the kubeconfig FILE is no way into Kubernetes by its context dev: File does not exists: /no/ca"),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(kubeconfig, changed, context, said):
    assert refusal(kubeconfig(document(**changed)), context=context) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clusters: [\nusers: {", "the kubeconfig FILE:2 is no valid YAML: "),
        ("- a list", "the kubeconfig FILE is none: it has no clusters, contexts and users"),
        ("", "the kubeconfig FILE is none: it has no clusters, contexts and users"),
        (b"\xff\xfe\x00", "the kubeconfig FILE is no text in UTF-8"),
    ],
)
def test_what_is_no_kubeconfig_is_said(kubeconfig, text, said):
    assert refusal(kubeconfig(text)).startswith(said)


def test_a_folder_cannot_be_read(tmp_path):
    assert refusal(tmp_path) == "the kubeconfig FILE can't be read: it is a directory, no regular file"


def test_of_several_files_the_first_that_names_something_counts(kubeconfig, monkeypatch, tmp_path):
    first = kubeconfig(document(contexts=[], **{"current-context": "prod"}), "first")
    second = kubeconfig(document(), "second")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (tmp_path / "missing", first, second))))
    configuration = Configuration()
    assert asyncio.run(load(KubernetesConfig(), configuration)) == "work"
    with pytest.raises(KubernetesError, match=f"{first}{os.pathsep}{second} has no context x; it has dev, prod"):
        asyncio.run(load(KubernetesConfig(context="x"), configuration))
