"""Mend: a field of a record that may be null, and is not given, is null.

StreamFlow 0.2.0rc3 (`core/processor.py`, `ObjectTokenProcessor`) leaves it out, so that `$(inputs.record.field)` has no
value, and the run ends with a JSON error. The reference runner fills such fields in (cwltool, `Builder.bind_input`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from streamflow.core.processor import NullTokenProcessor, ObjectTokenProcessor, TokenProcessor, UnionTokenProcessor
from streamflow.core.workflow import Token
from streamflow.workflow.token import ObjectToken

from streamflow_fluxop.streamflow_plugin.internals.mends import Mend


def _is_needed() -> bool:
    no_workflow = cast(Any, None)
    optional = UnionTokenProcessor("a", no_workflow, [NullTokenProcessor("a", no_workflow)])
    tried = ObjectTokenProcessor("r", no_workflow, {"a": optional}).process({}, ObjectToken({}))
    with ThreadPoolExecutor(1) as thread:  # this one may have an event loop that runs
        return "a" not in thread.submit(asyncio.run, tried).result().value


def _apply() -> None:
    original = ObjectTokenProcessor.process

    @functools.wraps(original)
    async def process(self: ObjectTokenProcessor, inputs: MutableMapping[str, Token], token: Token) -> Token:
        if isinstance(token, ObjectToken):
            absent = [n for n, p in self.processors.items() if n not in token.value and _takes_null(p)]
            if absent:
                token = token.update(token.value | {name: Token(None, tag=token.tag) for name in absent})
        return cast(Token, await original(self, inputs, token))

    ObjectTokenProcessor.process = process


def _takes_null(processor: TokenProcessor) -> bool:
    if isinstance(processor, UnionTokenProcessor):
        return any(map(_takes_null, processor.processors))
    return isinstance(processor, NullTokenProcessor)


MEND = Mend("fields of records that may be null, and are not given, are null", "0.2.0rc3", _is_needed, _apply)
