"""Evaluation results: the schema of evaluation.json, and its tables and numbers as text."""
