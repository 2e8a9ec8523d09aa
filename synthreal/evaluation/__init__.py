"""Training sets, downstream estimators, their comparison on real images, and ablations."""

from synthreal.evaluation.ablation import ablate
from synthreal.evaluation.estimator import Task, train
from synthreal.evaluation.verdict import label_free_verdict

__all__ = ["Task", "ablate", "label_free_verdict", "train"]
