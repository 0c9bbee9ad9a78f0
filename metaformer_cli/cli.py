"""The command line: which command, and what its errors look like.

Hydra and torch are imported late: help and a mistyped command answer at once.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from metaformer_cli import __version__
from metaformer_cli.commands.memory import out_of_memory

if TYPE_CHECKING:
    from metaformer_cli.config.resolve import Composed
    from metaformer_cli.config.sweep import Search, Sweep

COMMANDS = ("train", "eval", "compare", "predict", "export", "data", "bench", "list")

HELP = """\
metaformer: meta-train Transformers that adapt to a new task from a few examples

Usage: metaformer COMMAND [NAME=VALUE ...] [FLAGS]

Commands
  train     meta-train a model on few-shot tasks
  eval      judge a trained model, or a baseline, on groups held out from it
  compare   judge runs and baselines on the same episodes, and rank them
  predict   adapt to a file of your own, and answer the rows of another
  export    write weights, and the adapted model, for other programs
  data      say what a data set holds, before training on it
  bench     measure speed and memory of meta-gradients, beside other libraries
  list      say what there is to choose from, and what each option means

Examples
  metaformer train                                  the built-in data, minutes
  metaformer train data=csv data.path=my.csv        labelled texts of your own
  metaformer train task=fewshot_lm                  another task
  metaformer train -m learner=maml,fomaml seed=0,1  a sweep of four runs
  metaformer train run_dir=RUN resume=true          go on where RUN stopped
  metaformer eval ckpt=RUN task.shots=1             how good on one shot a class
  metaformer compare RUN RUN tfidf                  which one is better
  metaformer predict ckpt=RUN support=labelled.csv query=new.csv out=labels.csv

Flags
  -h, --help   this text; metaformer COMMAND --help: the options of a command
  --version    the version
  --cfg job    after a command: print its configuration instead of running it
  -m           after a command: run each combination of NAME=VALUE,VALUE,...

Shell completion
  bash, zsh    eval "$(metaformer -sc install=bash)", or install=zsh
  fish         metaformer -sc install=fish | source

An error is one line; METAFORMER_TRACEBACK=1 shows where it came from.
"""

# What the user can put right. Anything else is a fault of ours: Python shows where, and exits by 1.
USER_ERRORS = (ValueError, OSError, FloatingPointError)
WORD, LINE = 300, 2000  # characters of an error: a path, a value; and all of it
OUT_OF_MEMORY = (
    "out of memory; give fewer or shorter rows (task.shots, task.ways, task.max_tokens), "
    "a smaller model, or what adapts less of it, such as learner.adapt=head; what was saved "
    "before is whole"
)


def main() -> int:
    """Run the command in `sys.argv`; returns the exit code.

    0: done. 1: a fault in metaformer, with a traceback. 2: something for the user to correct, in
    one line; of several jobs, 1 and 2 mean that one failed so, and that the others were run. 130
    and 143: stopped by SIGINT and SIGTERM. 141: nobody reads the output any more.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot print ± is no error
    # Else whatever Python is started from here, such as a rank, a compiler's worker or a job of a
    # sweep, would first look into the working folder for its own modules, and run what it finds.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        code = _dispatch(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # or Python complains once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not _is_users(error):
            raise
        _report(error)
        return 2
    return code


def _is_users(error: Exception) -> bool:
    """Whether the user can put it right; else it is a fault of ours."""
    return isinstance(error, USER_ERRORS) or out_of_memory(error)


def _dispatch(words: Sequence[str]) -> int:
    if not words:
        print(HELP, end="", file=sys.stderr)
        return 2
    if "--version" in words:
        print(f"metaformer {__version__}")
    elif words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
    elif words[0] in ("-sc", "--shell-completion"):
        _complete(words)
    elif words[0] not in COMMANDS:
        close = get_close_matches(words[0], COMMANDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"unknown command {words[0]!r}: expected {', '.join(COMMANDS[:-1])} or {COMMANDS[-1]}"
            f"{hint}"
        )
    elif words[0] == "list":
        print(_listing(words[1:]))
    elif {"-h", "--help"}.intersection(words):
        from metaformer_cli.config.help import command_help

        _use_plugins(words)
        print(command_help(words[0]))
    else:
        return _run(words[0], words[1:])
    return 0


def _use_plugins(words: Sequence[str]) -> None:
    """Use the plugins that the words name, if any; Hydra, which is slow to import, reads them."""
    if any(word.startswith("plugins=") for word in words):
        from metaformer_cli.config.compose import plugin_files
        from metaformer_cli.config.registry import use_plugins

        use_plugins(plugin_files(words))


def _listing(words: Sequence[str]) -> str:
    """What `metaformer list` prints."""
    from metaformer_cli.config.listing import LIST_HELP, listing

    if {"-h", "--help"}.intersection(words):
        return LIST_HELP
    _use_plugins(words)
    return listing([word for word in words if not word.startswith("plugins=")])


def _run(command: str, words: Sequence[str]) -> int:
    from metaformer_cli.commands.compiled import kept_in_cache
    from metaformer_cli.config.compose import run

    logging.basicConfig(format="%(message)s")  # to stderr
    for name in ("metaformer_cli", "hydra"):
        logging.getLogger(name).setLevel(logging.INFO)
    with kept_in_cache():
        return _compare(words) if command == "compare" else run(command, words, _job, _jobs)


def _compare(words: Sequence[str]) -> int:
    """Compose what is compared, each as `eval` would, and compare it; the exit code."""
    from metaformer_cli.config.compared import compared

    if found := compared(words):
        from metaformer_cli.commands.compare import compare

        compare(found)
    return 0


def _job(composed: Composed) -> object:
    """Check what was composed, and run the command with it."""
    from metaformer_cli.config.resolve import resolve

    config = resolve(composed)
    return _body(composed.command)(config)


def _jobs(found: Sweep | Search) -> int:
    """Run several jobs; what stops one does not stop the others."""
    from metaformer_cli.commands.search import search
    from metaformer_cli.commands.sweep import sweep
    from metaformer_cli.config.sweep import Sweep

    if isinstance(found, Sweep):
        return sweep(found, _job, _failed)
    return search(found, _job, _failed)


def _failed(error: Exception) -> tuple[int, str]:
    """Say what stopped a job of several; the exit code that it means, and its one line."""
    if _is_users(error):
        return 2, _report(error)
    traceback.print_exception(error)
    return 1, one_line(f"a fault in metaformer: {type(error).__name__}: {error}")


def _body(command: str) -> Callable[[Any], object]:
    if command == "train":
        from metaformer_cli.commands.train import train

        return train
    if command == "eval":
        from metaformer_cli.commands.evaluate import evaluate

        return evaluate
    if command == "predict":
        from metaformer_cli.commands.predict import predict

        return predict
    if command == "export":
        from metaformer_cli.commands.export import export

        return export
    if command == "data":
        from metaformer_cli.commands.data import data

        return data
    from metaformer_cli.commands.bench import bench

    return bench


def _complete(words: Sequence[str]) -> None:
    """Shell completion: Hydra knows one command only, so ours is taken out of the line."""
    from metaformer_cli.config.compose import run

    line = os.environ.get("COMP_LINE", "")
    match = re.match(r"(\s*\S+\s+)(\S*)(\s*)", line)
    if not any(word.startswith("query=") for word in words):
        run(COMMANDS[0], words, _job, _jobs)  # the script to install is the same for all
    elif match and not match[3]:
        print(" ".join(name for name in COMMANDS if name.startswith(match[2])))
    elif match and match[2] == "list":
        from metaformer_cli.config.listing import LISTED, names

        words = [*LISTED, *(f"{group}={name}" for group in LISTED for name in names(group))]
        print(" ".join(word for word in words if word.startswith(line[match.end() :])))
    elif match and match[2] in COMMANDS:
        os.environ["COMP_LINE"] = match[1] + line[match.end() :]
        plugins = re.findall(r"(?<=\s)plugins=\S+(?=\s)", line)
        with contextlib.suppress(Exception):  # a half-typed line is often wrong
            run(match[2], [*words, *plugins], _job, _jobs)


def one_line(text: str) -> str:
    """A text as one line that can be read: of what is quoted too long, the two ends."""
    return _ends(" ".join(_ends(word, WORD) for word in text.split()), LINE)


def _ends(text: str, most: int) -> str:
    """The text; of one longer than `most` characters, its first two thirds and its end."""
    if len(text) <= most:
        return text
    first, last = most * 2 // 3, most // 3
    return f"{text[:first]}… ({len(text) - first - last:,} characters) …{text[-last:]}"


def _report(error: Exception) -> str:
    """Print an error as the user should see it: in one line, which it gives too."""
    text = OUT_OF_MEMORY if out_of_memory(error) else str(error)
    if text != OUT_OF_MEMORY and isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    line = one_line(" ".join([*getattr(error, "__notes__", []), text]))
    if os.environ.get("METAFORMER_TRACEBACK") == "1":
        traceback.print_exception(error)
    else:
        print("metaformer: error:", line, file=sys.stderr)
    return line
