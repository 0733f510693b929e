"""How large the inputs of a job are, as far as StreamFlow's tokens say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from streamflow.workflow.token import ListToken, ObjectToken

from streamflow_fluxop.cwl.identity import total

if TYPE_CHECKING:
    from streamflow.core.workflow import Token


def bytes_of(tokens: Iterable[Token]) -> int | None:
    """Bytes of all files in a job's inputs; None where those of one are not known."""
    return total([plain(token) for token in tokens])


def plain(token: Token) -> Any:
    """A token's value without tokens inside."""
    if isinstance(token, ListToken):
        return [plain(part) for part in token.value]
    if isinstance(token, ObjectToken):
        return {key: plain(part) for key, part in token.value.items()}
    return token.value
