"""What a user does with it: fit, refine, evaluate, and what they print and draw."""
