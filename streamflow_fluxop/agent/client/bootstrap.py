"""Brings the agent's source to where it runs, over the stream that it then talks on."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

BOOT = """\
import sys,os
sys.path[:]=[p for p in sys.path if p]
import json,types
def read(n):
 b=b''
 while len(b)<n:
  c=os.read(0,n-len(b))
  if not c:sys.exit('agent: no program came over stdin')
  b+=c
 return b
options,modules=json.loads(read(int(read(8),16)).decode())
for name,source in modules:
 m=sys.modules[name]=types.ModuleType(name)
 if source is None:m.__path__=[]
 else:exec(compile(source,'<'+name+'>','exec'),m.__dict__)
sys.modules['streamflow_fluxop.agent.remote.main'].main(options)
"""
"""What ``python -u -c`` gets: it reads the modules from stdin, without a byte of what follows them, and runs them.

The modules keep their names, under packages that stay empty. The working directory is no place to import from.
"""

PACKAGE = "streamflow_fluxop.agent"

MODULES = (
    "system.log",
    "wire.protocol",
    "wire.schema",
    "system.output",
    "system.processes",
    "backends.backend",
    "backends.node_allocation",
    "backends.embedded",
    "backends.measuring",
    "backends.jobspec",
    "backends.flux_eventlog",
    "backends.flux_reactor",
    "backends.flux",
    "shell_fastpath.shell_lexer",
    "shell_fastpath.answers",
    "shell_fastpath.queries",
    "shell_fastpath.changes",
    "system.job_files",
    "shell_fastpath.answering",
    "wire.backlog",
    "wire.pace",
    "remote.channel",
    "remote.rendezvous",
    "remote.watchdog",
    "remote.commands",
    "remote.streams",
    "remote.main",
)
"""The agent, each module after those that it imports."""


def program(**options: Any) -> bytes:
    """What to send first: the agent's modules and `main`'s options, with their length before them."""
    data = b"[%b,%b]" % (json.dumps(options).encode("ascii"), _modules())
    return b"%08x" % len(data) + data


@cache
def _modules() -> bytes:
    folders = dict.fromkeys(module.partition(".")[0] for module in MODULES)
    packages = [PACKAGE.partition(".")[0], PACKAGE, *(f"{PACKAGE}.{folder}" for folder in folders)]
    modules: list[tuple[str, str | None]] = [(package, None) for package in packages]
    modules += [(f"{PACKAGE}.{module}", source(module)) for module in MODULES]
    return json.dumps(modules).encode("ascii")


def source(module: str) -> str:
    """The source of one of `MODULES`."""
    folder, _, name = module.partition(".")
    return (files(PACKAGE) / folder / f"{name}.py").read_text("utf-8")
