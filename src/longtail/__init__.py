"""Long-tailed image classification: from labelled images to a gated, registered model."""

__version__ = "0.1.0"
