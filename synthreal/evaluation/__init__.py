"""Training sets, downstream estimators, their comparison on real images, and ablations."""

from synthreal.evaluation.ablate import ablate
from synthreal.evaluation.estimator import Task, train
from synthreal.evaluation.evaluate import evaluate

__all__ = ["Task", "ablate", "evaluate", "train"]
