"""Mend: a nested scatter over an empty array gives arrays that are nested as CWL says.

StreamFlow 0.2.0rc3 (`cwl/step.py`, `CWLEmptyScatterConditionalStep`) gives as many empty arrays as there are scattered
inputs. It must be one array for each item of the arrays before the first empty one, nested likewise (CWL 1.2,
WorkflowStep, `scatterMethod`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from streamflow.core.utils import get_entity_ids, get_tag
from streamflow.core.workflow import Token
from streamflow.cwl.step import CWLEmptyScatterConditionalStep
from streamflow.workflow.token import ListToken
from streamflow.workflow.utils import get_token_value

from streamflow_fluxop.streamflow_plugin.internals.mends import Mend


class _Tried(CWLEmptyScatterConditionalStep):
    """One whose output can be looked at, outside a workflow."""

    def __init__(self) -> None:
        self.scatter_method = "nested_crossproduct"
        self.given: list[Token] = []

    def get_skip_ports(self) -> dict[str, Any]:
        return {"out": self}

    def get_input_ports(self) -> dict[str, Any]:
        return {"a": None, "b": None}

    def put(self, token: Token) -> None:
        self.given.append(token)

    async def _persist_token(self, token: Token, **_: Any) -> Token:
        return token


def _is_needed() -> bool:
    item = Token(1)
    return any(
        _given_for({"a": ListToken(a), "b": ListToken(b)}) != wanted
        for a, b, wanted in (([], [item, item, item], []), ([item, item, item], [], [[], [], []]))
    )


def _given_for(inputs: MutableMapping[str, Token]) -> Any:
    tried = _Tried()
    with suppress(StopIteration):
        tried._on_false(inputs).send(None)
    return get_token_value(tried.given[0])


def _apply() -> None:
    original = CWLEmptyScatterConditionalStep._on_false

    @functools.wraps(original)
    async def on_false(self: CWLEmptyScatterConditionalStep, inputs: MutableMapping[str, Token]) -> None:
        if self.scatter_method != "nested_crossproduct":
            await original(self, inputs)
            return
        tag = get_tag(inputs.values())
        arrays = [inputs[name].value for name in self.get_input_ports() if name in inputs]
        ids = get_entity_ids(inputs.values())
        for port in self.get_skip_ports().values():
            port.put(await self._persist_token(token=_nested(arrays, tag), port=port, input_token_ids=ids))

    CWLEmptyScatterConditionalStep._on_false = on_false


def _nested(arrays: Sequence[Any], tag: str) -> ListToken:
    first, *others = arrays
    items: Iterable[Any] = first if isinstance(first, list) else ()
    return ListToken([_nested(others, f"{tag}.{i}") for i, _ in enumerate(items)] if others else [], tag=tag)


MEND = Mend("a nested scatter over an empty array is nested as CWL says", "0.2.0rc3", _is_needed, _apply)
