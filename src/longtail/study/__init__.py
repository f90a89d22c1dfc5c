"""Grids of whole flows: which method is best on this long tail, with error bars."""
