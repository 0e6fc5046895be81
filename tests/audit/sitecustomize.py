"""Python imports this when it starts, where this folder is on PYTHONPATH: see `watching`."""

import sys

from watching import watch

sys.addaudithook(watch)
