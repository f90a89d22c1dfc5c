"""How training examples are drawn."""

from typing import Literal

Sampler = Literal[
    "instance",
    "class_balanced",  # weighted random sampling, 1 / n a sample, is the same
    "class_aware",
    "square_root",
    "progressive",
    "effective_number",
    "oversampling",
    "undersampling",
    "head_half",
    "review",
]
