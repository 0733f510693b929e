"""The schedulers under the agent: Flux, and the embedded one."""
