"""Published data sets: fetched from their publisher, checked by SHA-256, kept in a cache.

CLINC150 (Larson et al. 2019, CC BY 3.0), BANKING77 (Casanueva et al. 2020, CC BY 4.0) and HWU64
(Liu et al. 2019, CC BY 4.0), with the class splits of ProtAugment (Dopierre et al. 2021), all from
the repository of that paper.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from tqdm import tqdm

from metaformer_cli.atomic import replacing
from metaformer_cli.choices import a_path, source
from metaformer_cli.data.dataset import Dataset, build_dataset
from metaformer_cli.data.files import read_rows
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.splits import read_splits
from metaformer_cli.locks import LOCK, locked, refuse_links
from metaformer_cli.seal import file_sha256

PUBLISHER = (
    "https://raw.githubusercontent.com/tdopierre/ProtAugment/"
    "4233bbae0d7544e632692c4d2c185b2ed2a19eef/data"
)
ROWS = "full.jsonl"
SPLIT = "splits/01"  # the first of the five published class splits
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class Download:
    """One file of a preset: its address under `PUBLISHER`, what it is here, and its checksum."""

    address: str
    name: str
    size: int  # bytes
    sha256: str


def _preset(folder: str, *sums: tuple[int, str]) -> tuple[Download, ...]:
    parts = ("train", "valid", "test")
    names = [(ROWS, ROWS)]
    names += [(f"few_shot/01/labels.{part}.txt", f"{SPLIT}/{part}.txt") for part in parts]
    return tuple(
        Download(f"{folder}/{address}", name, size, sha256)
        for (address, name), (size, sha256) in zip(names, sums, strict=True)
    )


PRESETS = {
    "clinc150": _preset(
        "OOS",
        (2162280, "ae5573aa7fada6614862657b0d6aabcd9f33135f56c8cd8dd4aefab6bc8ccd26"),
        (592, "09d3937c82290d220fd8e7d7c869b67d925a8b553152a038d0bd5951433ddd61"),
        (612, "67e16b89a8ea860ad2f614ddcfcfda4bda9b62fd567fda979a203e09b08a5b75"),
        (714, "2e15b8d0bcca648a3e548021397b5d8ae7a470d7d6547bb8f937d01e32359e7e"),
    ),
    "banking77": _preset(
        "BANKING77",
        (1428748, "2aef59a59888b66ebfd99a08e82a18f396a81c0430410938ef416a4bd5081b98"),
        (538, "24c65da022d4b08284576a486b40184ee289ce743adf31cfcb4f455c57d4d2a6"),
        (524, "bd16328f26fb6ddb3b1ca5b2d4c851bdf241efd5655ff42757bda4db528d60b3"),
        (587, "49f28d5d8407026f65e8695f6ed4f5197f8bc01d472b409b13c05e001fa1cff3"),
    ),
    "hwu64": _preset(
        "HWU64",
        (851795, "a4c337fc8d12a5b62715d80e6df3b51bea20d137da0a833e8eb584e90c429d13"),
        (232, "466bd33fe8992db6762a0a29eb6b4d123c1b3fb1b3b246bc80afa3871a57d1b1"),
        (357, "28e5a1adeafba35a40a54779f0cc07d7a6d2c0af84c52b61a1124b42cd663610"),
        (361, "023b8b7fb74e56dfd9bc00b714e3c44d02ffdaa67b876abc7d6897a4b6308715"),
    ),
}


@source("clinc150", "banking77", "hwu64", inputs=("text",))
def preset(
    name: str,
    min_rows: int,
    *,
    path: Annotated[str | None, a_path] = None,  # a folder with full.jsonl; null: download into
    # cache_dir
    splits: Annotated[str | None, a_path] = None,  # null: the first published class split
    problems: Literal["refuse", "drop"] = "drop",  # their few faults are known, and counted when
    # they are dropped
    cache_dir: Annotated[str, a_path] = "~/.cache/metaformer",  # where downloads are kept
) -> Dataset:
    """A published data set, downloaded once with a checksum, or read from `path`.

    Raises:
        ValueError: it cannot be fetched, read or used.
    """
    place = preset_folder(name, cache_dir=cache_dir) if path is None else Path(path)
    file = place / ROWS if place.is_dir() else place
    found = Problems()
    rows = read_rows(file, found, text_field="sentence", label_field="label", kind="jsonl")
    split = partial(read_splits, splits or file.parent / SPLIT)
    return build_dataset(name, rows, split=split, problems=problems, min_rows=min_rows, found=found)


def preset_folder(name: str, *, cache_dir: str | Path, publisher: str = PUBLISHER) -> Path:
    """The folder of a preset in the cache, with its rows and `SPLIT`, fetched if need be.

    Raises:
        ValueError: a file cannot be fetched, or is not the one that was published.
        OSError: the cache cannot be written.
    """
    folder = Path(cache_dir) / name
    if any(map(partial(_is_missing, folder), PRESETS[name])):
        refuse_links(Path(cache_dir), name, f"{name}/**/*")
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK, f"{name} in {cache_dir}", waits=True):
            for file in PRESETS[name]:
                if _is_missing(folder, file):  # nobody else has fetched it meanwhile
                    path = folder / file.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _download(f"{publisher}/{file.address}", path, file, preset=name)
    return folder


def _is_missing(folder: Path, file: Download) -> bool:
    """Whether a file of a preset is not there, or is another one."""
    path = folder / file.name
    return not path.is_file() or file_sha256(path) != file.sha256


def _download(url: str, path: Path, file: Download, *, preset: str) -> None:
    remedy = f"try again, or give data.path= a folder that holds {ROWS} and {SPLIT}"
    digest, received = hashlib.sha256(), 0
    bar = tqdm(
        total=file.size, unit="B", unit_scale=True, desc=f"{preset} {path.name}", disable=None
    )
    with bar, replacing(path) as stream:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310, https
                # One byte more than expected is enough to know that it is another file.
                while received <= file.size and (chunk := response.read(CHUNK)):
                    digest.update(chunk)
                    received += len(chunk)
                    stream.write(chunk)
                    bar.update(len(chunk))
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            came = " ".join(str(error).split())  # a server's answer may hold line breaks
            raise ValueError(f"cannot download {url} ({came}); {remedy}") from None
        if received < file.size:
            came = f"the connection closed after {received:,} of {file.size:,} bytes"
            raise ValueError(f"cannot download {url} ({came}); {remedy}")
        if digest.hexdigest() != file.sha256:
            raise ValueError(
                f"{url} is not the published file: expected SHA-256 {file.sha256}, "
                f"got {digest.hexdigest()}; {remedy}"
            )
