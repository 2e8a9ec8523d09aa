"""Training sets, downstream estimators, their comparison on real images, and ablations."""

from synthreal.evaluation.ablation import ablate
from synthreal.evaluation.estimator import Task, train

__all__ = ["Task", "ablate", "train"]
