"""``python -m fedsonar``: the command line of the interpreter at hand."""

import sys

from fedsonar.cli import main

if __name__ == "__main__":
    sys.exit(main())
