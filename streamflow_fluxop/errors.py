"""What goes wrong, in the user's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from streamflow_fluxop.printable import printable


class FluxopError(Exception):
    """Base of every error that this package raises on purpose."""


class UserError(FluxopError):
    """A mistake in what the user wrote: shown as one message, never as a traceback.

    Args:
        what: what is wrong.
        where: the file and the place in it, such as ``streamflow.yml: deployments.fleet.config.flavours``.
        fix: what would be right.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        fix = f"\n  {self.fix}" if self.fix else ""
        return printable(f"{where}{self.what}{fix}")


_STEP = re.compile(r"(?:(?<=: )|^)step (/\S*)(?=: |$)")
_LINE = re.compile(r"^([^:\s]*):(\d+)(?=:|$)")
_STEPS_NAMED = 3


class UserErrors(UserError):
    """Several mistakes at once, a paragraph each, so that a user can mend them in one go.

    Args:
        errors: at least one.
    """

    def __init__(self, errors: list[UserError]) -> None:
        once = list(_once(errors))
        super().__init__("\n".join(str(e) for e in once))
        self.errors = once


def _once(errors: Iterable[UserError]) -> Iterator[UserError]:
    """Each mistake once, though it stands in many steps or in what they run: with the steps that are concerned.

    Where each stands in a line of its own, the first line is told.
    """
    first: dict[tuple[str, str, str | None], UserError] = {}
    steps: dict[tuple[str, str, str | None], dict[str, None]] = {}
    for error in errors:
        where = error.where or ""
        named = _STEP.search(where)
        name = named[1] if named else ""
        what = error.what.replace(f"step {name}:", "step {}:") if name else error.what
        place = _LINE.sub(r"\1", where) if name else where
        key = (_STEP.sub("step {}", place, count=1), what, error.fix)
        first.setdefault(key, error)
        steps.setdefault(key, {})[name] = None
    for key, error in first.items():
        names = list(steps[key])
        if len(names) == 1:
            yield error
            continue
        more = f" and {len(names) - _STEPS_NAMED} more" if len(names) > _STEPS_NAMED else ""
        where = _STEP.sub(f"steps {', '.join(names[:_STEPS_NAMED])}{more}", error.where or "", count=1)
        yield UserError(error.what.replace(f" of step {names[0]}:", ":"), where=where, fix=error.fix)


class BudgetReachedError(FluxopError):
    """The run stops at its budget: the job was ended, or will not start."""


STOPPED_AT_BUDGET = 3
"""Exit code of a run that was stopped at its budget."""
