"""`python -m metaformer_cli`: the same as `metaformer`."""

import sys

from metaformer_cli.cli import main

sys.exit(main())
