"""What evaluations found: the schema of evaluation.json, and its numbers as people read them."""
