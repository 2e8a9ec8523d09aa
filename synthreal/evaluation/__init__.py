"""Training sets, downstream estimators, their comparison on real images, and ablations."""

from synthreal.evaluation.ablation import ablate
from synthreal.evaluation.comparison import compare_arms
from synthreal.evaluation.estimator import Task, train
from synthreal.evaluation.verdict import label_free_verdict
from synthreal.results.schema import read_evaluations

__all__ = ["Task", "ablate", "compare_arms", "label_free_verdict", "read_evaluations", "train"]
