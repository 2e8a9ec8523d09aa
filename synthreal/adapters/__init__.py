"""Adapters to other libraries, one module for each; all share ``lazy`` and ``images``."""
