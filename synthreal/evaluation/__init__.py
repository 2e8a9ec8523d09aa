"""The proof: training sets, estimators, what they found, and ablations."""
