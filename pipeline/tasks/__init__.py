"""Kinds of task: labels, losses, decoding and metrics."""
