"""The same decisions on simulated time and MiniClusters."""
