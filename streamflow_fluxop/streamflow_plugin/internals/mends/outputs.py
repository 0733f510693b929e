"""Mend: what a job says of its outputs takes nothing out of its directory's place, and is read with bounds.

StreamFlow 0.2.0rc3 joins the `basename` of a File or Directory to the folder that it is copied to: with `../../.bashrc`
there, in `cwl.output.json` or in what an expression gives, a job writes where it likes, as whoever runs StreamFlow. CWL
(v1.2, File) forbids `/` in it. `cwl.output.json` itself is read whatever it is: a pipe, without end, nested without
end; and it may send StreamFlow to any address of the web. A link in an output Directory that leads up is followed for
ever by the copy to the output folder.
"""

from __future__ import annotations

import functools
import json
import math
import os
from types import SimpleNamespace
from typing import Any

from streamflow.core.deployment import ExecutionLocation
from streamflow.core.exception import WorkflowExecutionException
from streamflow.cwl import command, step, utils
from streamflow.data.remotepath import StreamFlowPath
from streamflow.deployment.connector import local

from streamflow_fluxop.printable import printable
from streamflow_fluxop.streamflow_plugin.internals.mends import Mend
from streamflow_fluxop.streamflow_plugin.shared_files import never_ends

OUTPUT_OBJECT = "cwl.output.json"
SIZE_MAX = 1 << 24
"""Characters of a `cwl.output.json`."""
DEPTH_MAX = 64
"""Lists and objects in each other there."""
DIGITS_MAX = 40
"""Digits of a whole number there."""


def check_name(name: Any) -> None:
    """Whether a `basename` is the name of a file.

    Raises:
        WorkflowExecutionException: it is none.
    """
    if name is not None and (not isinstance(name, str) or name in (".", "..") or "/" in name or "\0" in name):
        raise WorkflowExecutionException(f"{printable(repr(name)[:200])} as `basename` of an output is no file's name")


def read_output_object(text: str) -> Any:
    """What a `cwl.output.json` says.

    Raises:
        WorkflowExecutionException: it is no JSON (RFC 8259), or says what no job has to say.
    """
    if len(text) > SIZE_MAX:
        raise _wrong(f"it has more than {SIZE_MAX >> 20} MiB")
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_short)
        _check(value, 0)
    except RecursionError:
        raise _wrong(f"more than {DEPTH_MAX} lists and objects lie in each other") from None
    except ValueError as error:
        raise _wrong(str(error)) from None
    return value


def _wrong(why: str) -> WorkflowExecutionException:
    return WorkflowExecutionException(f"the job's {OUTPUT_OBJECT}: {printable(why)}")


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:40]} is too large")
    return number


def _short(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _check(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise RecursionError
    if isinstance(value, list):
        for inner in value:
            _check(inner, depth + 1)
    elif isinstance(value, dict):
        if value.get("class") in ("File", "Directory"):
            _check_file(value)
        for inner in value.values():
            _check(inner, depth + 1)


def _check_file(value: dict[str, Any]) -> None:
    check_name(value.get("basename"))
    for key in ("location", "path"):
        place = value.get(key)
        if place is None:
            continue
        if not isinstance(place, str) or "\0" in place:
            raise ValueError(f"the {key} of a {value['class']} is no path")
        if "://" in place and not place.startswith("file://"):
            raise ValueError(f"{place[:200]!r} is no file of the job's: outputs come from where it ran")


class _OutputObject:
    """The file `cwl.output.json`, as far as StreamFlow asks for it."""

    def __init__(self, path: Any) -> None:
        self._path = path

    async def exists(self) -> bool:
        return bool(await self._path.exists())

    async def read_text(self) -> str:
        if not await self._path.is_file():
            raise _wrong("it is no regular file")
        try:
            return str(await self._path.read_text(n=SIZE_MAX + 1))
        except (OSError, ValueError) as error:
            raise _wrong(str(error)) from None


def copy_here(copy: Any, src: str, dst: str, read_only: bool) -> None:
    """StreamFlow's copy on this machine, which follows links, unless it would never end.

    Raises:
        WorkflowExecutionException: it would not.
    """
    if not read_only and os.path.isdir(src) and (why := never_ends(src)):
        raise WorkflowExecutionException(printable(f"FAILED copy of {src}: {why}"))
    copy(src, dst, read_only)


def _path(*parts: Any, **where: Any) -> Any:
    path = StreamFlowPath(*parts, **where)
    return _OutputObject(path) if parts[-1] == OUTPUT_OBJECT else path


def _is_needed() -> bool:
    token = utils.get_file_token(
        context=None,
        connector=None,
        cwl_version="v1.2",
        locations=[ExecutionLocation(name="l", deployment="d", local=True)],
        token_class="File",
        filepath="/a",
        basename="../a",
        is_literal=True,
    )
    try:
        token.send(None)
    except StopIteration:
        return True
    except WorkflowExecutionException:
        return False
    finally:
        token.close()
    return True


def _apply() -> None:
    utils.get_file_token = _checking_names(utils.get_file_token)
    transfer: Any = step.CWLTransferStep
    transfer._update_file_token = _checking_tokens(transfer._update_file_token)
    local._local_copy = functools.partial(copy_here, local._local_copy)
    command.StreamFlowPath = _path
    command.json = SimpleNamespace(loads=read_output_object, dumps=json.dumps)


def _checking_names(get_file_token: Any) -> Any:
    @functools.wraps(get_file_token)
    async def wrapper(*args: Any, **fields: Any) -> Any:
        check_name(fields.get("basename"))
        connector: Any = fields.get("connector")
        connector = getattr(connector, "_connector", None) or connector  # of a deployment that came when it was needed
        if not fields.get("is_literal") and hasattr(connector, "check_output"):
            await connector.check_output(fields["filepath"], fields["token_class"], fields["locations"])
        return await get_file_token(*args, **fields)

    return wrapper


def _checking_tokens(update: Any) -> Any:
    @functools.wraps(update)
    async def wrapper(self: Any, job: Any, token_value: Any, dst_path: Any = None) -> Any:
        check_name(token_value.get("basename"))
        return await update(self, job, token_value, dst_path)

    return wrapper


MEND = Mend("outputs stay where they belong", "0.2.0rc3", _is_needed, _apply)
