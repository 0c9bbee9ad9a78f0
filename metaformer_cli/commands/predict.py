"""`metaformer predict`: adapt to a person's own labelled rows, and label new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.data.dataset import Row
from metaformer_cli.data.files import Record, read_records, read_rows, text_of
from metaformer_cli.data.writing import check_output, write_records

if TYPE_CHECKING:
    from metaformer_cli.config.schema import PredictCommand

PREDICTED = "predicted"  # the column that is added for the label
BATCH = 256  # query rows at a time: bounds memory, and changes no result


def predict(config: PredictCommand) -> None:
    """Write the query file with a label, and each class's probability, beside every row.

    Raises:
        ValueError: a file or the checkpoint cannot be used.
    """
    text_field, label_field = str(config.text_field), str(config.label_field)
    check_output(config.out)
    check_inputs_kept(config)
    support = list(read_rows(config.support, text_field=text_field, label_field=label_field))
    classes = check_support(support, config.support)
    support.sort(key=lambda row: (row.label, row.text))  # lest their order change a last bit
    records = list(read_records(config.query, required=[text_field]))
    texts = [text_of(record, text_field) for record in records]
    check_columns(records, classes)
    file = checkpoint_file(config.ckpt)

    from metaformer_cli.commands.build import load_trained, resolve_device
    from metaformer_cli.tasks.fewshot_text import TextReader

    device = resolve_device(config.device)
    learner, meta, tokenizer = load_trained(config, file, device)
    reader = TextReader(tokenizer, config.task.max_tokens)
    targets = [classes.index(row.label) for row in support]
    labelled = reader.read([row.text for row in support], targets).to(device)
    *_, predictor = learner.adaptation(meta, labelled, len(classes))
    probabilities: list[list[float]] = []
    starts = range(0, len(texts), BATCH)
    for start in tqdm(starts, desc="predict", unit="batch", leave=False, disable=None):
        batch = texts[start : start + BATCH]
        examples = reader.read(batch, [0] * len(batch)).to(device)
        probabilities += predictor(examples).softmax(dim=1).tolist()
    write_records(config.out, list(label(records, classes, probabilities)))
    print(
        f"{len(texts):,} rows labelled with {len(classes)} classes, adapted on {len(support):,} "
        f"examples: {config.out}"
    )


def label(
    records: Sequence[Record], classes: Sequence[str], probabilities: Sequence[Sequence[float]]
) -> Iterator[dict[str, Any]]:
    """Each record with the most probable class and all probabilities."""
    for record, row in zip(records, probabilities, strict=True):
        columns = {f"p({name})": round(p, 6) for name, p in zip(classes, row, strict=True)}
        yield {**record.values, PREDICTED: classes[row.index(max(row))], **columns}


def check_inputs_kept(config: PredictCommand) -> None:
    """Check that the output would not take an input's place.

    Raises:
        ValueError: it would.
    """
    out = Path(config.out)
    for name, file in (("support", config.support), ("query", config.query)):
        if out.exists() and Path(file).exists() and out.samefile(file):
            raise ValueError(f"out={out} is the {name} file itself: give another name")


def check_support(rows: Sequence[Row], file: str) -> list[str]:
    """The classes of a support set, sorted.

    Raises:
        ValueError: an empty text or label, a text with two labels, or fewer than two classes.
    """
    labels: dict[str, Row] = {}
    for row in rows:
        if not row.text.strip() or not row.label:
            what = "text" if row.label else "label"
            raise ValueError(f"{row.source}: the {what} is empty; fill it in or remove the row")
        first = labels.setdefault(row.text, row)
        if first.label != row.label:
            raise ValueError(
                f"{row.source}: labelled {row.label!r}, but the same text at {first.source} is "
                f"{first.label!r}; keep one of the two"
            )
    classes = sorted({row.label for row in rows})
    if len(classes) < 2:
        raise ValueError(
            f"support={file}: expected at least two classes, found only {classes[0]!r}; "
            "add examples of another, or give label_field=..."
        )
    return classes


def check_columns(records: Sequence[Record], classes: Sequence[str]) -> None:
    """Check that no column of the query file has the name of one that is added.

    Raises:
        ValueError: one has.
    """
    added = [PREDICTED, *(f"p({name})" for name in classes)]
    for record in records:
        if taken := [name for name in added if name in record.values]:
            raise ValueError(
                f"{record.source}: a column {taken[0]!r} is there already, and predict adds one; "
                "rename it"
            )
