"""Training sets, downstream estimators, their comparison on real images, and ablations."""

from synthreal.evaluation.ablation import ablate
from synthreal.evaluation.comparison import compare_arms
from synthreal.evaluation.estimator import Task, train
from synthreal.evaluation.label_matching import match_labels
from synthreal.evaluation.verdict import label_free_verdict
from synthreal.results.schema import read_evaluations

__all__ = ["Task", "ablate", "compare_arms", "label_free_verdict", "match_labels", "read_evaluations", "train"]
