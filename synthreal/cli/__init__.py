"""The command line: each command parses its arguments, calls the library and prints the result.

Results go to stdout, progress and errors to stderr. Bad input gives one line and exit code 2. Commands import heavy
libraries when they run, so that ``--help`` is instant.
"""

from synthreal.cli import adapt, domain, plugins, refiner, judge, browse  # isort: skip  # the order of commands in --help
from synthreal.cli.application import app, main

__all__ = ["adapt", "app", "browse", "domain", "judge", "main", "plugins", "refiner"]
