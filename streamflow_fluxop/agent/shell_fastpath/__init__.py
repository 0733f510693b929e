"""StreamFlow's simplest small commands, answered without a process."""
