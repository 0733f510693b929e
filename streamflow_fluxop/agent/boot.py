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
sys.modules['streamflow_fluxop.agent.main'].main(options)
"""
"""What ``python -u -c`` gets: it reads the modules from stdin, without a byte of what follows them, and runs them.

The modules keep their names, under two packages that stay empty. The working directory is no place to import from.
"""

MODULES = (
    "log",
    "protocol",
    "messages",
    "output",
    "processes",
    "backend",
    "placement",
    "embedded",
    "measuring",
    "jobspec",
    "flux_words",
    "flux_reactor",
    "flux_backend",
    "words",
    "shell_answers",
    "shell_questions",
    "shell_changes",
    "job_files",
    "shell",
    "backlog",
    "pace",
    "channel",
    "rendezvous",
    "watchdog",
    "commands",
    "streams",
    "main",
)
"""The agent, each module after those that it imports."""


def program(**options: Any) -> bytes:
    """What to send first: the agent's modules and `main`'s options, with their length before them."""
    data = b"[%b,%b]" % (json.dumps(options).encode("ascii"), _modules())
    return b"%08x" % len(data) + data


@cache
def _modules() -> bytes:
    package = "streamflow_fluxop.agent"
    folder = files(package)
    modules: list[tuple[str, str | None]] = [("streamflow_fluxop", None), (package, None)]
    modules += [(f"{package}.{name}", (folder / f"{name}.py").read_text("utf-8")) for name in MODULES]
    return json.dumps(modules).encode("ascii")
