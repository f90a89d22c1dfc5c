"""Losses for long-tailed classes: one value a sample; the caller weighs and averages."""
