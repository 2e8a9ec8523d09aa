"""Training: the loop, and everything it needs."""
