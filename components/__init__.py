"""The steps as Kubeflow components, one file each: typed artifacts around the step's function.

KFP ships the source of a component's function to its pod, so the body imports what it needs from
the packages in the image. Every component has `code_rev` among its inputs, though only represent
uses it: KFP finds cached results by image and inputs, and would not see that the code has changed.
"""

IMAGE = "longtail-python"  # a stand-in: `pipelines.pods` gives every task its image

# In the order of the graph.
STEPS = (
    "parameters",
    "fingerprint",
    "ingest",
    "split",
    "validate",
    "represent",
    "embed",
    "classify",
    "tau_norm",
    "evaluate",
    "incumbent",
    "champion",
    "gate",
    "report",
    "register",
)
ALWAYS = frozenset({"fingerprint", "incumbent", "register"})  # they look outside, or act there
