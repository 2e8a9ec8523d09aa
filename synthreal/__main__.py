"""``python -m synthreal``."""

from synthreal.cli import main

main()
