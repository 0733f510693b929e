"""What the agent needs of the scheduler under it: Flux, or the embedded one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamflow_fluxop.agent.wire.protocol import JobRequest

TIME_LIMIT_EXIT_CODE = 128 + 14
"""Flux ends a job at its time limit with SIGALRM."""

CANCELLED_EXIT_CODE = 128 + 15
"""And a cancelled one with SIGTERM."""

KILL_AFTER = 5.0
"""Seconds from the signal that ends a job until SIGKILL: Flux's kill-timeout."""


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended; before the `output` kept there were `dropped` bytes more (-1: nobody counted).

    `memory` (KiB) and `cpu` (ms) are what its tasks used, together; None where nobody measured it.
    """

    exit_code: int
    reason: str | None = None
    output: bytes = b""
    dropped: int = 0
    memory: int | None = None
    cpu: int | None = None


class Listener(ABC):
    """Whoever is told what happens to jobs, in the event loop's thread."""

    @abstractmethod
    def recovered(self, job: str) -> None:
        """Another agent submitted it; it may already be over."""

    @abstractmethod
    def started(self, job: str) -> None:
        """Its tasks have their resources and start."""

    @abstractmethod
    def finished(self, job: str, outcome: JobOutcome) -> None:
        """None of its tasks runs any more; said once for each job."""

    @abstractmethod
    def broken(self, why: str) -> None:
        """The scheduler is gone, and its jobs with it."""


class Backend(ABC):
    """A scheduler. A job is named by the identifier that the client chose."""

    @abstractmethod
    async def start(self, listener: Listener) -> dict[str, Any]:
        """Get ready for jobs.

        Returns:
            The scheduler's fields of the `hello` message: backend, version, nodes, cores, gpus.
        """

    @abstractmethod
    def submit(self, job: str, request: JobRequest) -> None:
        """Queue a job; every outcome, a refusal too, is told to the listener."""

    @abstractmethod
    def cancel(self, job: str) -> None:
        """End a job that waits or runs; nothing happens where it is neither."""

    @abstractmethod
    async def close(self) -> None:
        """End all jobs and wait, a bounded time, until their processes are gone."""


def exit_code_of(status: int) -> int:
    """What a shell's ``$?`` says of a wait status: the exit code, or 128 + the signal."""
    return 128 + (status & 0x7F) if status & 0x7F else (status >> 8) & 0xFF
