"""`python -m benchmarks`: see `command`."""

import sys

from benchmarks.command import main

sys.exit(main())
