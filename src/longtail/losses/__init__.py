"""Losses for long-tailed classes: one value per sample; the caller weights and averages."""
