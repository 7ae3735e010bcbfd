"""Predictions in; metrics, means, gains and intervals out."""
