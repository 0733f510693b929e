"""The agent that drives a MiniCluster from inside, and the client that talks to it.

``client`` runs beside the workflow engine. The other packages are the agent: they travel as source over the stream
(`client.bootstrap`), so they know the standard library only (Python 3.8 and later) and each other: ``remote`` is the
program, ``backends`` are the schedulers, ``shell_fastpath`` answers small commands without a process, ``system`` is
what they need of the operating system, ``wire`` what both sides say to each other (``docs/agent-protocol.md``).
"""
