"""The help of each command, made from the schema: one place for a meaning and a default."""

from __future__ import annotations

import inspect
import json
from typing import Any

from metaformer_cli.config.options import Option, own_options
from metaformer_cli.config.schema import COMMANDS, GROUPS

_EXAMPLES = {
    "train": "metaformer train data=csv data.path=my.csv task.ways=4 train.steps=1000",
    "eval": "metaformer eval ckpt=RUN_FOLDER task.shots=1",
    "predict": "metaformer predict ckpt=RUN_FOLDER support=labelled.csv query=new.csv out=out.csv",
    "data": "metaformer data data=csv data.path=my.csv",
}
_FLAGS = (
    "Flags",
    "  -m                    sweep: every combination of NAME=VALUE,VALUE,... is a job",
    "  --cfg job             print the configuration instead of running",
    "  --config-dir FOLDER   choices of your own, e.g. FOLDER/learner/mine.yaml for learner=mine",
    "  --hydra-help          what else Hydra can do",
)


def command_help(command: str) -> str:
    """What `metaformer COMMAND --help` prints."""
    schema = COMMANDS[command]
    lines = [_about(schema), "", f"For example: {_EXAMPLES[command]}", ""]
    lines += ["Options, with their defaults; ??? must be given"]
    own = list(own_options(schema))
    lines += [_line(option) for option in own if option.key not in GROUPS]
    for option in own:
        if option.key in GROUPS and (command != "predict" or option.key == "learner"):
            lines += ["", *_group(option.key)]  # predict takes the others from the checkpoint
    return "\n".join([*lines, "", *_FLAGS])


def _group(group: str) -> list[str]:
    """The choices of a group; those with the same options together."""
    lines = []
    for schema in dict.fromkeys(GROUPS[group].values()):
        names = [name for name, own in GROUPS[group].items() if own is schema]
        lines += [f"{group}={'|'.join(names)}: {_about(schema)}"]
        lines += [_line(option) for option in own_options(schema, prefix=f"{group}.")]
    return lines


def _line(option: Option) -> str:
    default = option.default if isinstance(option.default, str) else json.dumps(option.default)
    return f"  {f'{option.key}={default}':31} {option.doc}".rstrip()


def _about(schema: type[Any]) -> str:
    """The first paragraph of its docstring."""
    return inspect.cleandoc(schema.__doc__ or "").split("\n\n")[0].replace("\n", " ")
