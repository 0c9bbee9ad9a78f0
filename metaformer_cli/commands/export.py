"""`metaformer export`: weights, and the adapted model as a program, for other programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from metaformer_cli import __version__
from metaformer_cli.atomic import replacing_folder
from metaformer_cli.commands.build import Built, build, build_task, load_judged, print_unread
from metaformer_cli.config.registry import choice
from metaformer_cli.config.saved import checkpoint_file
from metaformer_cli.data.files import read_records
from metaformer_cli.data.problems import Problems
from metaformer_cli.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from metaformer_cli.config.schema import ExportCommand, Values
    from metaformer_cli.episode import Drawn, Examples
    from metaformer_cli.models.model import Model, Parameters

ABOUT: Final = "metaformer.json"  # in every export, and what it is known by
WEIGHTS: Final = "model.safetensors"


@dataclass(frozen=True)
class Adapted:
    """A learner, adapted to a person's own examples.

    Attributes:
        predictor: what adapting gave; it has its `parameters`, and pure `outputs`.
        drawn: the examples in words.
        examples: as the model reads them.
        outputs: what the predictor gives of them.
    """

    predictor: Any
    drawn: Drawn
    examples: Examples
    outputs: Tensor

    @classmethod
    def to(cls, file: str, task: Task, built: Built) -> Adapted:
        """Adapt to the rows of a file.

        Raises:
            ValueError: the file or its rows cannot be used.
            FloatingPointError: the adapted model gives no numbers.
        """
        from metaformer_cli.training.evaluation import non_finite

        found = Problems()
        records = list(read_records(file, found, required=task.columns[0]))
        found.refuse("support", remedy="correct them, or take such rows out")
        drawn = task.ask(records, file)
        for note in found.notes:
            print(f"note     {note}")
        examples = task.read(drawn.support, drawn)
        *_, predictor = built.learner.adaptation(built.meta, examples)
        outputs = predictor(examples)
        if overflow := non_finite(outputs, f"support={file}", built.learner):
            raise FloatingPointError(overflow)
        return cls(predictor, drawn, examples, outputs)


def export(config: ExportCommand) -> None:
    """Write a folder of weights, of what else other programs need, and of what it all is.

    Raises:
        ValueError: the folder is not ours to write, or a file or the checkpoint cannot be used.
        FloatingPointError: adapting to the support set overflowed; nothing is written.
    """
    out = Path(config.out)
    check_folder(out)
    if config.device not in ("auto", "cpu"):
        raise ValueError(f"device={config.device}: export computes on the CPU; leave device out")
    if not choice("learner", config.learner["name"]).declared["trains"]:
        raise ValueError(
            f"learner={config.learner['name']} has no weights to export: leave it out, for the "
            "checkpoint's own"
        )
    task = build_task(config)
    file = checkpoint_file(config.ckpt)
    built = build(config, task, {}, "cpu", load_judged(file, config), file=file)
    model: Model = built.learner.model
    adapted = Adapted.to(config.support, task, built) if config.support else None
    parameters = built.meta if adapted is None else adapted.predictor.parameters
    about = describe(config, adapted)
    with replacing_folder(out) as folder:
        layout = write_weights(folder, model, parameters)
        if adapted is not None and model.plain:
            about["program"] = write_adapted(folder, model, adapted)
        for name, text in task.for_others(adapted.drawn if adapted else None).items():
            (folder / name).write_text(text, "utf-8")
        about["weights"] = {"file": WEIGHTS, "layout": layout}
        (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=2) + "\n", "utf-8")
    when = f"adapted on {about['adapted_on']} examples" if adapted else "before adapting"
    print(f"weights  {out / WEIGHTS}: {when}; {layout}")
    if "program" in about:
        print(f"program  {out / about['program']['file']}: {when}; for torch.export.load")
    elif adapted:
        print(f"program  none: of model={config.model['name']} the weights alone are written")
    else:
        print("program  none: support=FILE adapts the model, and writes what answers as it does")
    if adapted:
        print_unread(task, adapted.drawn.support)


def check_folder(out: Path) -> None:
    """Check that the folder is new, empty, or an earlier export.

    Raises:
        ValueError: it is something else, or has no folder around it.
    """
    if out.is_dir():
        if any(out.iterdir()) and not (out / ABOUT).is_file():
            raise ValueError(
                f"out={out} holds something else than an export: expected a new folder, an empty "
                f"one, or one with {ABOUT}, which is replaced"
            )
    elif out.exists():
        raise ValueError(f"out={out} is a file: expected the name of a folder to write")
    elif not out.absolute().parent.is_dir():
        raise ValueError(f"out={out}: there is no folder {out.parent}; make it first")


def write_weights(folder: Path, model: Model, parameters: Parameters) -> str:
    """Write the weights, LoRA merged, in a layout of `transformers` where there is one.

    Args:
        folder: an empty one.
        model: whose.
        parameters: that were trained, and adapted; a learner's own, such as rates, are left out.

    Returns:
        The layout, in words.
    """
    from metaformer_cli.models.lora import merge_lora
    from metaformer_cli.training.checkpoint import write

    if model.export(folder, lambda: parameters):
        return "for from_pretrained of transformers"
    own: Parameters = dict(model.named_parameters())
    own |= {name: parameters[name] for name in parameters if name in own or name in model.added}
    whole = {name: value.detach() for name, value in merge_lora(model, own).items()}
    layout = "under metaformer's names"
    if found := model.for_transformers(whole):
        config, whole = found
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        layout = f"for from_pretrained of transformers, a {config['architectures'][0]}"
    else:  # what follows from the tokenizer, so that the file says all
        whole |= dict(model.named_buffers())
    with (folder / WEIGHTS).open("xb") as stream:
        contiguous = {name: value.contiguous() for name, value in whole.items()}
        write(stream, contiguous, {"format": "pt"})
    return layout


def write_adapted(folder: Path, model: Model, adapted: Adapted) -> Values:
    """Write the adapted model as a program; what it is called with, and what it gives."""
    from metaformer_cli.models.program import PROGRAM, write_program

    outputs, inputs = adapted.predictor.outputs, adapted.examples.inputs
    write_program(folder / PROGRAM, model, outputs, inputs, adapted.outputs)
    shape = ", ".join(["rows", *map(str, adapted.outputs.shape[1:])])
    return {
        "file": PROGRAM,
        "inputs": {name: own.meaning for name, own in model.plain.items()},
        "outputs": f"float32 [{shape}]",
    }


def describe(config: ExportCommand, adapted: Adapted | None) -> Values:
    """What was exported, for people and programs: each choice, and what its options mean."""
    rows = adapted.examples.rows if adapted else ()
    found: Values = {"metaformer": __version__, "adapted_on": len(rows)}
    for group in ("task", "learner", "model"):
        values = getattr(config, group)
        own = choice(group, values["name"])
        options = {
            name: {"value": values[name], "means": option.doc}
            for name, option in own.options.items()
        }
        found[group] = {"name": own.name, "is": own.doc, "options": options}
    return found
