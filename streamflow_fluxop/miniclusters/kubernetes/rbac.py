"""The rights that a fleet needs in Kubernetes, as manifests."""

from __future__ import annotations

import re
from importlib.resources import files

from streamflow_fluxop.errors import UserError

NAMESPACE = "fluxop"
"""The namespace that `rbac.yaml` is for."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Names of namespaces are labels of RFC 1123."""


def rights(namespace: str = NAMESPACE) -> str:
    """Service account, roles and bindings for a namespace, as YAML that `kubectl apply -f -` takes.

    The cluster role is the same for all namespaces; every namespace has a binding of its own to it.

    Raises:
        UserError: no namespace can have such a name.
    """
    if not _LABEL.fullmatch(namespace):
        raise UserError(
            f"no namespace can be called {namespace!r}",
            where="--namespace",
            fix="A name has small letters, digits and dashes, at most 63, and neither begins nor ends with a dash.",
        )
    text = files("streamflow_fluxop.miniclusters.kubernetes").joinpath("rbac.yaml").read_text(encoding="utf-8")
    return re.sub(r"(namespace[:-] *)fluxop", rf"\g<1>{namespace}", text)


def command(namespace: str) -> str:
    """The command that grants them."""
    option = "" if namespace == NAMESPACE else f" --namespace {namespace}"
    return f"fluxop manifests rbac{option} | kubectl apply -f -"
