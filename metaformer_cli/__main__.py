"""`python -m metaformer_cli`: the same as `metaformer`.

`python -m` puts the working folder first on the path, and looks there for what it needs itself; so
in a folder of foreign files take `metaformer`, or `python -P -m metaformer_cli`.
"""

import sys
from pathlib import Path

# From here on nothing in the working folder is code, unless this package lies there.
if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
    del sys.path[0]

from metaformer_cli.cli import main

sys.exit(main())
