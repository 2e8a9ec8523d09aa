"""The pages a person looks at in a browser. What serves them is in the extra ``web``."""
