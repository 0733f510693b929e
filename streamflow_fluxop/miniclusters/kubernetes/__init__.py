"""MiniClusters in Kubernetes, through the Flux Operator."""
