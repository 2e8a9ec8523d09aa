"""The page of a run: what it was, what it learned and what came of it, in one HTML file that opens from disk."""
