"""Loops over the bytes and the words of rows, compiled."""
