"""JavaScript of CWL documents, evaluated by a process of Node that can do nothing but compute."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

from cwl_utils.errors import JavascriptException
from cwl_utils.sandboxjs import NodeJSEngine, code_fragment_to_js, segment_re

from streamflow_fluxop.cwl.known_values import UNKNOWN

logger = logging.getLogger(__name__)

_HEAP = 128
"""MiB of JavaScript's heap; what else the process may use, `confined.py` limits."""

_LARGEST = 2**26
"""Bytes of an answer: JSON of at most 2**24 characters in JSON."""

_PERMISSIONS = ("--permission", "--experimental-permission")
"""How to ask for Node's own permission model: since 22.13, since 20."""

_OURS = ("EvalError", "RangeError", "CompileError", "LinkError", "RuntimeError")
"""Errors that an expression may meet here and not in the run: of what we forbid, and of what a stack can hold."""

_told: set[str] = set()


class OnlyTheRunTells(Exception):
    """An expression reads what is not known before the run."""


class ScriptFailed(JavascriptException):  # type: ignore[misc]
    """JavaScript that fails here as it will in the run; the text is JavaScript's own."""


class Unconfined(Exception):
    """There is no Node that can be kept from all but computing."""


class JavaScriptEngine(NodeJSEngine):  # type: ignore[misc]
    """Evaluates JavaScript for cwl-utils.

    One process evaluates all expressions, each in a global object of its own. It sees no file, network or environment,
    and starts no program (`confined.py`, `evaluate.js`); where that can't be had nothing is evaluated. Close it after
    use.

    Args:
        seconds: of CPU time for each process.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._process: NodeProcess | None = None

    def eval(self, scan: str, jslib: str = "", timeout: float = 5.0, **_: Any) -> Any:
        """The value of an expression.

        Args:
            scan: the expression, without its `$`.
            jslib: what it can use.
            timeout: seconds that it may take.

        Raises:
            ScriptFailed: it fails, or has no value.
            OnlyTheRunTells: it reads what is not known.
            JavascriptException: it takes too long or too much memory, or JavaScript is not evaluated here.
        """
        if self._process is None or self._process.ended:
            try:
                self._process = NodeProcess(node(), self._seconds, max(timeout, self._seconds))
            except Unconfined as error:
                if str(error) not in _told:
                    _told.add(str(error))
                    logger.warning("JavaScript is not evaluated before the run, as %s", error)
                raise JavascriptException(str(error)) from None
        return self._process.evaluate(code_fragment_to_js(scan, jslib), timeout)

    def regex_eval(self, parsed_string: str, remaining_string: str, current_value: Any, **options: Any) -> Any:
        """The value of a parameter reference, for cwl-utils: what is not known has no members yet.

        Raises:
            OnlyTheRunTells: see `eval`.
            cwl_utils.errors.WorkflowException: there is no such member.
        """
        if remaining_string and _is_open(current_value, remaining_string):
            raise OnlyTheRunTells
        return super().regex_eval(parsed_string, remaining_string, current_value, **options)

    @property
    def pid(self) -> int | None:
        """The process, None where there is none."""
        return None if self._process is None or self._process.ended else self._process.pid

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.end()


def _is_open(value: Any, remaining: str) -> bool:
    """Whether only the run tells a member of a value: a file may get others than we know."""
    if not isinstance(value, Mapping) or value.get("class") not in ("File", "Directory"):
        return value is UNKNOWN
    found = segment_re.match(remaining)
    return found is not None and found[1].strip(".[]'\"") not in value


def node() -> str:
    """Node's path.

    Raises:
        Unconfined: there is no Node.
    """
    found = shutil.which("nodejs") or shutil.which("node")
    if found is None:
        raise Unconfined("there is no node on the PATH")
    return found


@lru_cache
def _permission(program: str) -> list[str]:
    """The option for Node's permission model; none where it has none: what is forbidden is tried in any case."""
    for option in _PERMISSIONS:
        if not subprocess.run([program, option, "--version"], env={}, capture_output=True, check=False).returncode:
            return [option]
    return []


class NodeProcess:
    """A confined process of Node.

    Args:
        program: Node.
        cpu: seconds of CPU time that it may take in all.
        timeout: seconds that it may take to start, which is more where the machine is busy than an expression has.

    Raises:
        Unconfined: it can't be confined.
    """

    def __init__(self, program: str, cpu: float, timeout: float) -> None:
        self._read = b""
        self._process = self._start(program, cpu)
        try:
            why = self._opening(time.monotonic() + timeout)
        except JavascriptException as error:
            why = f"{program} does not start: {error}"
        if why:
            self.end()
            raise Unconfined(why)

    @staticmethod
    def _start(program: str, cpu: float) -> subprocess.Popen[bytes]:
        flags = [*_permission(program), f"--max-old-space-size={_HEAP}", "--no-addons", "--no-warnings"]
        flags.append("--disallow-code-generation-from-strings")
        package = files("streamflow_fluxop.cwl")
        with as_file(package / "confined.py") as launcher:
            return subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(launcher), str(int(cpu) + 2), program),
                    *flags,
                    *("-e", package.joinpath("evaluate.js").read_text("utf-8")),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"},
                start_new_session=True,
                bufsize=0,
            )

    def _opening(self, deadline: float) -> str:
        """Why it can't be used, empty where it can."""
        said = self._line(b"", deadline)
        if said != b"confined":
            return f"Node can't be confined here: {said.decode(errors='replace')}"
        opened = json.loads(self._line(b"", deadline))["open"]
        return f"the Node here {' and '.join(opened)}" if opened else ""

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    def evaluate(self, code: str, timeout: float) -> Any:
        """The value of a program; see `Engine.eval`.

        Raises:
            JavascriptException: see `Engine.eval`.
        """
        line = self._line(json.dumps(code).encode() + b"\n", time.monotonic() + timeout)
        try:
            answer = json.loads(line)
            value = json.loads(answer["value"]) if answer.get("value") is not None else None
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise JavascriptException("its value is no JSON") from None
        if "unknown" in answer:
            raise OnlyTheRunTells
        if "error" in answer:
            if str(answer["error"]).startswith(_OURS):
                raise JavascriptException(str(answer["error"]))
            raise ScriptFailed(str(answer["error"]))
        if "value" not in answer:
            raise ScriptFailed("it returns nothing")
        if answer["value"] is None:
            raise JavascriptException("its value is too large")
        return value

    def _line(self, request: bytes, deadline: float) -> bytes:
        """Write a request, and read the line that answers it; whatever takes too long or says too much is ended."""
        try:
            return self._exchange(request, deadline)
        except (OSError, JavascriptException) as error:
            self.end()
            raise JavascriptException(str(error)) from None

    def _exchange(self, request: bytes, deadline: float) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        rest = memoryview(request)
        chunks = [self._read]
        size = len(self._read)
        with selectors.DefaultSelector() as selector:
            os.set_blocking(stdin.fileno(), False)
            selector.register(stdout, selectors.EVENT_READ)
            if rest:
                selector.register(stdin, selectors.EVENT_WRITE)
            while b"\n" not in chunks[-1]:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise JavascriptException("it takes too long")
                for key, _ in ready:
                    if key.fileobj is stdin:
                        rest = rest[os.write(stdin.fileno(), rest[: 2**16]) :]
                        if not rest:
                            selector.unregister(stdin)
                        continue
                    chunks.append(os.read(stdout.fileno(), 2**20))
                    size += len(chunks[-1])
                    if not chunks[-1] or size > _LARGEST:
                        raise JavascriptException("it ended" if not chunks[-1] else "its value is too large")
        line, _, self._read = b"".join(chunks).partition(b"\n")
        return line

    def end(self) -> None:
        """End it, with its group."""
        if self.ended:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
