"""The proof: training sets, estimators, what they found, and ablations."""

from synthreal.evaluation.ablate import ablate
from synthreal.evaluation.evaluate import evaluate

__all__ = ["ablate", "evaluate"]
