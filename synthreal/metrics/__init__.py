"""Metrics of image sets: realism, and whether labels survive refinement. Image sets in, numbers out."""

from synthreal.metrics.displacement import DisplacementField, displacement_field
from synthreal.metrics.distances import realism
from synthreal.metrics.features import random_features
from synthreal.metrics.label_drift import annotation_drift
from synthreal.metrics.mmd import kid
from synthreal.metrics.spectrum import spectrum_distance
from synthreal.metrics.twosample import two_sample_test
from synthreal.metrics.wasserstein import sliced_wasserstein

__all__ = [
    "DisplacementField",
    "annotation_drift",
    "displacement_field",
    "kid",
    "random_features",
    "realism",
    "sliced_wasserstein",
    "spectrum_distance",
    "two_sample_test",
]
