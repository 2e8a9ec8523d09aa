"""The visual Turing test in a browser; the server needs the extra ``web``."""
