"""`metaformer predict`: adapt to a person's own rows, and answer new ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from metaformer_cli.commands.build import (
    build,
    build_task,
    load_judged,
    print_unread,
    resolve_device,
)
from metaformer_cli.commands.recorded import seen_in_training
from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.data.files import Record, read_records
from metaformer_cli.data.problems import Problems
from metaformer_cli.data.writing import check_output, writing
from metaformer_cli.episode import Decoder, Examples, Generator, Row

if TYPE_CHECKING:
    from torch import Tensor

    from metaformer_cli.config.schema import PredictCommand

BATCH = 256  # query rows at a time: bounds memory, and changes no result


def predict(config: PredictCommand) -> None:
    """Write the query file with the task's answer beside every row.

    Raises:
        ValueError: a file or the checkpoint cannot be used.
        FloatingPointError: adapting to the support set overflowed; nothing is written.
    """
    check_output(config.out)
    check_inputs_kept(config)
    task = build_task(config)
    of_support, of_query = task.columns
    found = Problems()
    support = list(read_records(config.support, found, required=of_support))

    def records(told: Problems | None = None) -> Iterator[Record]:
        """The query file, which is read anew each time: it may be larger than memory."""
        return read_records(config.query, told or Problems(), required=of_query)

    fields: dict[str, None] = {}  # all columns of the query file, in order
    count = 0
    for record in records(found):
        count += 1
        fields |= dict.fromkeys(record.values)
    found.refuse("support and query", remedy="correct them, or take such rows out")
    file = checkpoint_file(config.ckpt)

    from metaformer_cli.training.evaluation import non_finite

    device = resolve_device(config.device)
    built = build(config, task, {}, device, load_judged(file, config), file=file)
    drawn = task.ask(support, config.support)  # it may need what the task has learned
    added = task.added_columns(drawn)
    if taken := [name for name in added if name in fields]:
        refuse_column(records(), taken[0])

    def asked() -> Iterator[Row]:
        return (task.question(record, drawn) for record in records())

    rows = asked()
    answered = task.answered(drawn, rows)
    deque(rows, maxlen=0)  # all that it left: what cannot be asked is refused before the work
    if seen := seen_in_training(file, task.asked(drawn), task.words[:2]):
        print(f"note     {seen}")
    adapt_on = task.read(drawn.support, drawn).to(device)
    *_, adapted = built.learner.adaptation(built.meta, adapt_on)

    def check(outputs: Tensor) -> Tensor:
        if overflow := non_finite(outputs, f"support={config.support}", built.learner):
            raise FloatingPointError(overflow)
        return outputs

    predictor = (CheckedGenerator if isinstance(adapted, Generator) else Checked)(adapted, check)

    def answers() -> Iterator[dict[str, Any]]:
        rows = asked()
        with tqdm(total=count, desc="predict", unit="row", leave=False, disable=None) as bar:
            while some := list(islice(rows, BATCH)):
                yield from task.answer(predictor, task.read(some, drawn).to(device), drawn)
                bar.update(len(some))

    with writing(config.out, [*fields, *added]) as write:
        for record, answer in zip(records(), task.together(answers()), strict=True):
            write({**record.values, **answer})
    for note in found.notes:
        print(f"note     {note}")
    print(f"{count:,} rows {answered}, adapted on {len(support):,} examples: {config.out}")
    print_unread(task, chain(drawn.support, asked()))


class Checked:
    """A predictor whose outputs are checked.

    Args:
        predictor: gives them.
        check: returns them, or raises an error.
    """

    def __init__(self, predictor: Any, check: Callable[[Tensor], Tensor]) -> None:
        self._predictor, self._check = predictor, check

    def __call__(self, examples: Examples) -> Tensor:
        """The model's outputs."""
        return self._check(self._predictor(examples))


class CheckedGenerator(Checked):
    """Whose decoders are checked too."""

    def decoder(self, examples: Examples) -> CheckedDecoder:
        """What goes on from the examples' prompts."""
        return CheckedDecoder(self._predictor.decoder(examples), self._check)


class CheckedDecoder:
    """A decoder whose scores are checked."""

    def __init__(self, decoder: Decoder, check: Callable[[Tensor], Tensor]) -> None:
        self._decoder, self._check = decoder, check
        self.next, self.take = decoder.next, decoder.take

    @property
    def logits(self) -> Tensor:
        """[N, V] the scores of each token to come next."""
        return self._check(self._decoder.logits)


def check_inputs_kept(config: PredictCommand) -> None:
    """Check that the output would not take an input's place.

    Raises:
        ValueError: it would.
    """
    out = Path(config.out)
    for name, file in (("support", config.support), ("query", config.query)):
        if out.exists() and Path(file).exists() and out.samefile(file):
            raise ValueError(f"out={out} is the {name} file itself: give another name")


def refuse_column(records: Iterable[Record], name: str) -> None:
    """Refuse a query file that has a column of the name of one that is added.

    Raises:
        ValueError: where it has.
    """
    for record in records:
        if name in record.values:
            raise ValueError(
                f"{record.source}: a column {name!r} is there already, and predict adds one; "
                "rename it"
            )
