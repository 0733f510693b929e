"""What the agent needs of the operating system: processes, files of jobs, a log."""
