"""Small commands and byte streams: what the client runs beside the jobs, on no node's resources."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from streamflow_fluxop.agent.backends.backend import exit_code_of
from streamflow_fluxop.agent.shell_fastpath import answering
from streamflow_fluxop.agent.system.output import Tail
from streamflow_fluxop.agent.system.processes import Processes, descendants, send_signal, to_bytes
from streamflow_fluxop.agent.wire.protocol import CHUNK, COMMAND_OUTPUT_MAX, PIPE_MAX, CommandResult, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamflow_fluxop.agent.remote.channel import Channel

_SHELLS = 16  # real shells at once; more only make each other slow
_F_GETPIPE_SZ = 1032  # linux/fcntl.h; Python has it from 3.10 on
_THREADS = 4  # for answers that read or write much


class Commands:
    """Runs small commands; `answer`s most of them in this process.

    Args:
        processes: starts the shells.
        channel: takes the results.
    """

    def __init__(self, processes: Processes, channel: Channel) -> None:
        self._processes = processes
        self._channel = channel
        self._waiting: deque[_Command] = deque()
        self._known: dict[int, _Command] = {}
        self._shells = 0
        self._threads = ThreadPoolExecutor(_THREADS, "answer")

    def run(self, identifier: int, command: str) -> None:
        """Run a command line and send its `result`."""
        try:
            result = answering.answer(command, answering.QUICK)
        except answering.Heavy:
            future = asyncio.get_running_loop().run_in_executor(self._threads, answering.answer, command)
            future.add_done_callback(lambda done: self._answered(identifier, command, done.result()))
        else:
            self._answered(identifier, command, result)

    def kill(self, identifier: int) -> None:
        """End a command; its `result` still comes."""
        command = self._known.get(identifier)
        if command is not None:
            command.kill()

    def close(self) -> None:
        """Wait for the answers under way; the shells are the caller's to kill."""
        self._threads.shutdown(wait=False)

    def _answered(self, identifier: int, command: str, result: CommandResult | None) -> None:
        if result is None:  # it is of a known shape, but only the real thing knows what is to be said
            self._use_shell(identifier, command)
        else:
            self._channel.send({"op": "result", "id": identifier, "exit_code": result.exit_code}, result.output)

    def _use_shell(self, identifier: int, command: str) -> None:
        if identifier in self._known:
            raise ProtocolError(f"a second command {identifier}")
        entry = _Command(self, identifier, command)
        self._known[identifier] = entry
        self._waiting.append(entry)
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._shells < _SHELLS:
            self._shells += 1
            self._waiting.popleft().start()

    def _over(self, command: _Command, message: dict[str, Any], payload: bytes, *, had_shell: bool) -> None:
        del self._known[command.identifier]
        if had_shell:
            self._shells -= 1
            self._start_waiting()
        else:
            self._waiting.remove(command)
        self._channel.send(message, payload)


class _Command:
    """One command line in a real shell."""

    def __init__(self, commands: Commands, identifier: int, command: str) -> None:
        self.identifier = identifier
        self._commands = commands
        self._command = command
        self._output = bytearray()
        self._errors = Tail()
        self._shell: Shell | None = None
        self._too_much = False

    def start(self) -> None:
        self._shell = Shell(self._commands._processes, self._command, self._got, self._errors, self._ended)

    def kill(self) -> None:
        if self._shell is not None:
            self._shell.kill()
        else:
            self._send(128 + signal.SIGKILL, had_shell=False)

    def _got(self, data: bytes) -> None:
        self._output += data
        if len(self._output) > COMMAND_OUTPUT_MAX and not self._too_much:
            self._too_much = True
            assert self._shell is not None
            self._shell.kill()

    def _ended(self, exit_code: int) -> None:
        self._send(exit_code, had_shell=True)

    def _send(self, exit_code: int, *, had_shell: bool) -> None:
        message: dict[str, Any] = {"op": "result", "id": self.identifier, "exit_code": exit_code}
        output = b"" if self._too_much else bytes(self._output)
        if self._too_much:
            message["too_much"] = COMMAND_OUTPUT_MAX
        if self._errors.total:
            message["errors"] = len(self._errors.kept)  # the payload's last bytes
        self._commands._over(self, message, output + self._errors.kept, had_shell=had_shell)


class Shell:
    """A ``/bin/sh -c`` with its output in pipes.

    What it left running in the background lives on, but is no longer listened to once the shell has ended.

    Args:
        processes: starts it.
        command: the command line.
        got: is called with pieces of its standard output; None: the caller reads `stdout` itself.
        errors: takes its standard error.
        ended: is called with its exit code when all that it wrote has been read.
        feed: whether it reads from `stdin`, a pipe, or nothing.
    """

    def __init__(
        self,
        processes: Processes,
        command: str,
        got: Callable[[bytes], None],
        errors: Tail,
        ended: Callable[[int], None],
        *,
        feed: bool = False,
    ) -> None:
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._takers: dict[int, Callable[[bytes], None]] = {}
        stdin, self.stdin = os.pipe() if feed else (subprocess.DEVNULL, -1)
        stdout, their_stdout = os.pipe()
        stderr, their_stderr = os.pipe()
        self.stdout = stdout
        self._pid = 0
        try:
            self._pid = processes.spawn(
                [b"/bin/sh", b"-c", to_bytes(command)],
                stdin=stdin, stdout=their_stdout, stderr=their_stderr, ended=self._exited,
            )  # fmt: skip
        except OSError as error:  # the command line is too long for the kernel, or no process can be had
            errors.add(f"/bin/sh: {error.strerror}\n".encode())
            self._loop.call_soon(self._exited, 126 << 8)
        finally:
            os.close(their_stdout)
            os.close(their_stderr)
            if feed:
                os.close(stdin)
        for descriptor, take in ((stdout, got), (stderr, errors.add)):
            os.set_blocking(descriptor, False)
            self._takers[descriptor] = take
            self._loop.add_reader(descriptor, self._read, descriptor)

    def pause(self) -> None:
        """Read no more of its standard output until `resume`."""
        if self.stdout in self._takers:
            self._loop.remove_reader(self.stdout)

    def resume(self) -> None:
        """Read on."""
        if self.stdout in self._takers:
            self._loop.add_reader(self.stdout, self._read, self.stdout)

    def kill(self) -> None:
        """End it and all that it started."""
        if self._pid:
            send_signal(descendants([self._pid]), signal.SIGKILL)

    def _exited(self, status: int) -> None:
        self._pid = 0
        for descriptor in list(self._takers):
            # what it wrote lies in the pipe; who still writes, in the background, is not waited for
            for _ in range(-(-_pipe_size(descriptor) // CHUNK)):
                if not (descriptor in self._takers and self._read(descriptor)):
                    break
            self._close(descriptor)
        self._ended(exit_code_of(status))

    def _read(self, descriptor: int) -> bool:
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close(descriptor)
            return False
        self._takers[descriptor](data)
        return True

    def _close(self, descriptor: int) -> None:
        if self._takers.pop(descriptor, None) is not None:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)


def _pipe_size(descriptor: int) -> int:
    """What a pipe holds (bytes); its writer may have asked for more than it had (fcntl(2))."""
    try:
        return min(fcntl.fcntl(descriptor, _F_GETPIPE_SZ), PIPE_MAX)
    except OSError:
        return PIPE_MAX
