"""The command line: every command parses, calls one library function and prints.

Results go to stdout, progress and errors to stderr. Bad input is one line and exit code 2. Heavy libraries are
imported inside the commands, so that ``--help`` is instant.
"""

from synthreal.cli import domain, refiner, judge, browse  # isort: skip  # the order in which --help lists them
from synthreal.cli.application import app, main

__all__ = ["app", "browse", "domain", "judge", "main", "refiner"]
