"""What comes from a MiniCluster as a tar stream, member by member: nothing lands outside of where it should.

StreamFlow extracts what it gets. A job that owns the agent's account can send anything; so here names are looked at,
and nothing but files, directories and links among them is made.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from streamflow.core.exception import WorkflowExecutionException
from streamflow.deployment import aiotarstream

if TYPE_CHECKING:
    from streamflow.core.data import StreamWrapper

MEMBERS_MAX = 5_000_000
"""Files and directories in one copy."""

HEADER_MAX = 1 << 20
"""Bytes of a long name or an extended header (pax), which are read at once."""

ROUNDS = 8
"""Times that the names of a path may come again, one after the other."""

_PIECE = 1 << 16
_LONG = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


class Refused(Exception):
    """A member that may not be; the text says which and why."""


class _Info(aiotarstream.AioTarInfo):
    async def _proc_member(self, tarstream: Any) -> Any:
        if self.type in _LONG and self.size > HEADER_MAX:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return await super()._proc_member(tarstream)


async def extract(stream: StreamWrapper, src: str, dst: str) -> None:
    """Extract the copy of `src` to `dst`, or into it if that is a directory, as StreamFlow does.

    Args:
        stream: what ``tar c`` wrote in the folder of `src`.
        src: path in the MiniCluster.
        dst: path here.

    Raises:
        WorkflowExecutionException: what comes is no such copy, or does not fit on the disk.
    """
    root = _Root(os.path.basename(src), dst)
    try:
        async with aiotarstream.open(stream=stream, mode="r", copybufsize=_PIECE, tarinfo=_Info) as tar:
            async for member in tar:
                tar.members.clear()  # else they would all be kept
                await root.add(member, tar)
    except Refused as error:
        raise WorkflowExecutionException(f"FAILED copy of {src} from a MiniCluster: {error}") from None
    except (tarfile.TarError, OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        # the parser is not made for those who mean harm
        raise WorkflowExecutionException(
            f"FAILED copy of {src} from a MiniCluster: {error or type(error).__name__}"
        ) from None


def _goes_round(parts: list[str]) -> bool:
    """Whether a path ends in `ROUNDS` times the same: tar(1) followed a link that leads up."""
    return any(parts[-length * ROUNDS :] == parts[-length:] * ROUNDS for length in range(1, len(parts) // ROUNDS + 1))


class _Root:
    """Where the members go.

    Args:
        name: that all of them begin with.
        dst: see `extract`.
    """

    def __init__(self, name: str, dst: str) -> None:
        self._name = name
        self._dst = os.path.abspath(dst)
        self._top = os.path.join(os.path.realpath(os.path.dirname(self._dst)), os.path.basename(self._dst))
        self._free = shutil.disk_usage(os.path.dirname(self._top)).free
        self._count = 0
        self._files: dict[str, str] = {}  # extracted: members to paths, for hard links

    async def add(self, member: tarfile.TarInfo, tar: aiotarstream.AioTarStream) -> None:
        """Extract one member.

        Raises:
            Refused: it may not be.
        """
        self._count += 1
        if self._count > MEMBERS_MAX:
            raise Refused(f"more than {MEMBERS_MAX} files")
        path = self._place(member)
        if member.isdir():
            self._directory(path)
        elif member.issym():
            self._symbolic(member, path)
        elif member.islnk():
            self._hard(member, path)
        elif member.isreg() and member.sparse is None:
            await self._file(member, path, tar)
            self._files[member.name] = path
        else:
            raise Refused(f"{member.name!r} is neither file, directory nor link")

    def _place(self, member: tarfile.TarInfo) -> str:
        """Where a member goes."""
        parts = member.name.split("/")
        if _goes_round([part for part in parts if part not in ("", ".")]):
            raise Refused(f"a link in {self._name!r} leads back to where it is: {member.name[-200:]!r}")
        if parts[0] != self._name or ".." in parts or "\0" in member.name:
            raise Refused(f"{member.name!r} is no part of {self._name!r}")
        rest = [part for part in parts[1:] if part not in ("", ".")]
        if not rest and os.path.isdir(self._dst):
            rest = [self._name]
        path = os.path.join(self._top, *rest)
        parent, inside = os.path.realpath(os.path.dirname(path)), os.path.realpath(self._top)
        if rest and not (parent + "/").startswith(inside.rstrip("/") + "/"):
            raise Refused(f"{member.name!r} leads out of {self._dst}")
        return path

    def _directory(self, path: str) -> None:
        if os.path.islink(path) and path != self._top:
            raise Refused(f"{path!r} was a link before")
        os.makedirs(path, exist_ok=True)

    def _symbolic(self, member: tarfile.TarInfo, path: str) -> None:
        target = os.path.realpath(os.path.join(os.path.dirname(path), member.linkname))
        inside = os.path.realpath(self._top)
        # `..` after a name leads elsewhere once that name is another link
        names = itertools.dropwhile(lambda part: part in ("", ".", ".."), member.linkname.split("/"))
        if os.path.isabs(member.linkname) or ".." in names or not (target + "/").startswith(inside.rstrip("/") + "/"):
            raise Refused(f"{member.name!r} is a link that leads out, to {member.linkname!r}")
        self._clear(path)
        os.symlink(member.linkname, path)

    def _hard(self, member: tarfile.TarInfo, path: str) -> None:
        target = self._files.get(member.linkname)
        if target is None:
            raise Refused(f"{member.name!r} is a link to {member.linkname!r}, which did not come")
        if os.path.islink(target):  # meanwhile; from another folder it would lead elsewhere
            raise Refused(f"{member.name!r} is a link to {member.linkname!r}, which is no file any more")
        if target != path:
            self._clear(path)
            os.link(target, path, follow_symlinks=False)

    async def _file(self, member: tarfile.TarInfo, path: str, tar: aiotarstream.AioTarStream) -> None:
        if member.size > self._free:
            raise Refused(f"{member.name!r} has {member.size} bytes, and only {self._free} are free")
        self._free -= member.size
        self._clear(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            left = member.size
            async with await tar.extractfile(member) as data:
                while left and (piece := await data.read(min(left, _PIECE))):
                    file.write(piece)
                    left -= len(piece)
            if left:
                raise Refused(f"{member.name!r} ends {left} bytes early")
            os.fchmod(descriptor, member.mode & 0o777)  # no set-user-ID

    @staticmethod
    def _clear(path: str) -> None:
        """Make room: what is written goes to no file that was there, and through no link."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
