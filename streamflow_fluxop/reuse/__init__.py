"""Results of jobs that succeeded, kept so that a job that would do the same need not run: StreamFlow is not known here.

`fingerprint` says when two jobs do the same, `results` keeps what is known, in a file beside the event logs. What a job
left is listed, checked and brought to another directory by `agent.system.job_files`, where those files are.
"""
