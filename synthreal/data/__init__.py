"""Images at rest and on the move: the pack format, data sets opened in a role, endless batches."""
