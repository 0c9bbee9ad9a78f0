"""`hparams_search=NAME`: runs in which each chooses its options after those before it, by Optuna.

What is known of all trials is in `search.db` in the search's folder, so that the same command goes
on where it was stopped. A trial is judged by validation alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from metaformer_cli.commands.build import build_task
from metaformer_cli.commands.sweep import FILE as TABLE
from metaformer_cli.commands.sweep import Ended, Failed, Run, Table, attempt, ended
from metaformer_cli.config.options import flatten
from metaformer_cli.config.resolve import resolve
from metaformer_cli.config.sweep import Job, Numbers, Search
from metaformer_cli.episode import Score, derive_seed
from metaformer_cli.locks import only_writer
from metaformer_cli.training.launch import torchrun_place

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from metaformer_cli.config.schema import TrainCommand

FILE: Final = "search.db"
OF_A_START: Final = ("run_dir", "resume", "trials")  # and of no search


def search(own: Search, run: Run, failed: Failed) -> int:
    """Run trials until there are so many, those of an earlier start among them.

    The first ten are drawn, and those that follow by a tree-structured Parzen estimator (Bergstra
    et al. 2011), Optuna's own default. Each is drawn by a seed of its own, so that a search that
    was stopped ends as one that never was.

    Args:
        own: the space.
        run: runs one job.
        failed: is told of an error that stopped one.

    Returns:
        The exit code, as `Table` has it; of this start.

    Raises:
        ValueError: Optuna is missing; options cannot be; or the folder holds another search.
        KeyboardInterrupt: somebody stopped it; what was done is said. Likewise SystemExit.
    """
    if torchrun_place(1):
        raise ValueError(
            "hparams_search: each of torchrun's processes would choose for itself: expected a "
            "start without torchrun; train.processes=N makes several of one"
        )
    optuna = import_optuna()
    config = resolve(own.job(0, {}).composed)
    lead = build_task(config).objective.lead
    with only_writer(own.folder, f"{FILE}*", TABLE):
        study = open_study(optuna, own, about(own, config), lead)
        return run_trials(optuna, own, study, run, failed)


def run_trials(optuna: ModuleType, own: Search, study: Study, run: Run, failed: Failed) -> int:
    """Run the trials that a study has not seen the end of, in a folder where nobody else writes."""
    running, failing = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.FAIL
    spaces = {key: distribution(optuna, where) for key, where in own.space.items()}
    table = Table(own.folder, max(own.trials, len(study.trials)))
    try:
        for trial in study.trials:
            if trial.state != running:
                table.add(of_earlier(own, study, trial), 0)
        if table.ended:
            print(f"search   {own.folder}: {len(table.ended)} of {table.count} trials are done")
        stopped = [trial for trial in study.trials if trial.state == running]
        while stopped or len(study.trials) < own.trials:
            if stopped:
                number, values = stopped[0].number, stopped.pop(0).params
            else:
                number = len(study.trials)
                seed = derive_seed(own.seed, "trial", number) % 2**32
                study.sampler = optuna.samplers.TPESampler(seed=seed)
                values = study.ask(spaces).params
            found, code = attempt(job_of(own, number, values), run, failed)
            if found.valid:
                study.tell(number, found.valid.mean)
            else:
                study.set_user_attr(f"error {number}", found.error)
                study.tell(number, state=failing)
            table.add(found, code)
    finally:
        table.print()
    return table.code


def import_optuna() -> ModuleType:
    """Optuna, which says nothing by itself.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ValueError(
            "hparams_search needs Optuna, which is not installed: "
            'pip install "metaformer-cli[optuna]"'
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def about(own: Search, config: TrainCommand) -> dict[str, Any]:
    """What makes a search another one: the space, and what is the same in all its runs."""
    fixed = {key: value for key, value in flatten(asdict(config)).items() if key not in OF_A_START}
    looked_for = {key: str(where) for key, where in own.space.items()}
    known: dict[str, Any] = json.loads(json.dumps({**fixed, **looked_for}, default=str))
    return known


def open_study(optuna: ModuleType, own: Search, known: dict[str, Any], lead: Score) -> Study:
    """The study in the search's folder, made where there is none.

    Args:
        optuna: the package.
        own: the search.
        known: what makes it another.
        lead: the score to be improved.

    Raises:
        ValueError: what is there is another search, or no study.
    """
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import SQLAlchemyError

    file = own.folder / FILE
    address = URL.create("sqlite", database=str(file.absolute()))  # ? and % are part of a name
    try:
        study: Study = optuna.create_study(
            study_name="search",
            storage=address.render_as_string(),
            direction="minimize" if lead.lower_is_better else "maximize",
            load_if_exists=True,
        )
    except SQLAlchemyError as error:
        raise ValueError(
            f"{file}: expected a search, and it cannot be read as one "
            f"({str(error).splitlines()[0]}); give another run_dir"
        ) from None
    before = study.user_attrs.get("about", known)
    for key in before.keys() | known.keys():
        if before.get(key) != known.get(key):
            raise ValueError(
                f"{own.folder} holds another search: {key}={known.get(key)} was given, and its "
                f"runs have {key}={before.get(key)}; give another run_dir, or the same words"
            )
    study.set_user_attr("about", known)
    return study


def distribution(optuna: ModuleType, where: Numbers | Sequence[str]) -> Any:
    """The same space as Optuna has it."""
    kinds = optuna.distributions
    if not isinstance(where, Numbers):
        return kinds.CategoricalDistribution(where)
    whole = isinstance(where.low, int) and isinstance(where.high, int)
    if whole:
        return kinds.IntDistribution(where.low, where.high, log=where.log, step=where.step or 1)
    return kinds.FloatDistribution(where.low, where.high, log=where.log, step=where.step)


def job_of(own: Search, number: int, values: Mapping[str, Any]) -> Job:
    """The job of a trial, whose numbers are of four digits, as people write them."""
    short = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    return own.job(number, short)


def of_earlier(own: Search, study: Study, trial: FrozenTrial) -> Ended:
    """What came of a trial of an earlier start."""
    job = job_of(own, trial.number, trial.params)
    if trial.value is None:
        return Ended(
            job, job.composed.folder, study.user_attrs.get(f"error {trial.number}", "stopped")
        )
    return ended(job, resolve(job.composed))
