"""On-demand HPC for StreamFlow: CWL steps as Flux jobs on MiniClusters that come and go."""

__version__ = "0.1.0"
