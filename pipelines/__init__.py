"""The flow as Kubeflow pipelines: the graph, what its pods get, compiling, running, submitting."""
