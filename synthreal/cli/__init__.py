"""The command line: each command parses its arguments, calls the library and prints the result.

Results go to stdout, progress and errors to stderr. Bad input gives one line and exit code 2. Commands import heavy
libraries when they run, so that ``--help`` is instant.
"""

from synthreal.cli import adapt, browse, domain, judge, plugins, refiner
from synthreal.cli.application import app, main

__all__ = ["adapt", "app", "browse", "domain", "judge", "main", "plugins", "refiner"]

# --help lists them in the order in which a newcomer meets them.
FIRST = domain.check, adapt.adapt, refiner.fit, refiner.refine, judge.evaluate, browse.report, browse.turing
LATER = judge.ablate, domain.show, domain.prepare, domain.match_labels, refiner.export
app.registered_commands.sort(key=lambda command: (FIRST + LATER).index(command.callback))
