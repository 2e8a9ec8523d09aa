"""How real do images look? Measures of two sets of images that need no labels, and what refining does to labels."""
