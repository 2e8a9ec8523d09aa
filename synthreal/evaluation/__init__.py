"""Evaluation: training sets, estimators, their results, and ablations."""

from synthreal.evaluation.ablation import ablate

__all__ = ["ablate"]
