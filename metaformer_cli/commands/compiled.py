"""Where PyTorch keeps what it compiles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from metaformer_cli.atomic import no_empty_folder_left
from metaformer_cli.config.schema import CACHE

PLACE: Final = "TORCHINDUCTOR_CACHE_DIR"


@contextmanager
def kept_in_cache() -> Iterator[None]:
    """Inside, it is kept where the next run finds it; where nothing was compiled, no folder stays.

    PyTorch makes the folder as soon as its compiler is imported, as by learn2learn, `torch.export`,
    and a look for a C++ compiler. Where our cache cannot be written to, it takes a temporary folder
    of its own. A place that the user chose is the user's affair.
    """
    if PLACE in os.environ:
        yield
        return
    cache = Path(CACHE).expanduser()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        os.environ[PLACE] = str(cache / "compiled")
    with no_empty_folder_left(cache / "compiled"):
        try:
            yield
        finally:
            if place := os.environ.pop(PLACE, None):  # PyTorch's own, where not ours
                with suppress(OSError):  # it was not made, or holds something
                    Path(place).rmdir()
