"""Parallel: what puts a model, its batches and its gradients on the ranks of a Layout."""
