"""Grids of runs: what they are, and their one table."""
