"""One model per step: every parameter, its default, its bounds and a sentence on what it does.

A section of `params.yaml` is one model here, one `params:` entry in `dvc.yaml`. Configuration stops
at the step: below it are flat, typed arguments.
"""
