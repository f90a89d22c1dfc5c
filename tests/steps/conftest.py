"""A history that every worker makes once; imported into test modules, each would have its own."""

from tests.steps.registry_history import at, past

__all__ = ["at", "past"]
