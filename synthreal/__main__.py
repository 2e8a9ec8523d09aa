"""``python -m synthreal``."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory, which may be a stranger's folder

from synthreal.cli import main

main()
