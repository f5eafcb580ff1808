"""Loops over updates as they lie in memory: sums of rows, and columns in order."""
