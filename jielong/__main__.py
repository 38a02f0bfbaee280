"""`python -m jielong` is `jielong`."""

import sys

from jielong.cli import main

if __name__ == "__main__":
    sys.exit(main())
