"""Baselines and the table of rows."""
