"""Adapters to optional libraries, one module each, which only they import; ``lazy`` and ``images`` are shared."""
