"""SetFit: fine-tune a sentence encoder on each support set, by its own package."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
from torch import Tensor

from metaformer_cli.choices import a_path, learner
from metaformer_cli.episode import Examples, Predictor
from metaformer_cli.learners.learner import Untrained
from metaformer_cli.learners.logistic_regression import at_classes
from metaformer_cli.models.hub import find, find_minilm
from metaformer_cli.models.model import Parameters

SMALLEST = 1e-30  # of probabilities: one that underflows has a logarithm too


@learner("setfit", trains=False, inputs=("text",), outputs=("classes",))
class SetFit(Untrained):
    """SetFit (Tunstall et al. 2022), with the defaults of its package: what peers compare with.

    On each support set, a sentence encoder is fine-tuned on pairs of texts, of one class or of two,
    and then logistic regression is fitted to its features. It takes seconds to minutes an episode,
    so a few dozen episodes are what one can afford. Its own seed decides, for each set anew, and it
    sets the global generators to it.

    Raises:
        ValueError: its package is not installed.
    """

    title = "SetFit"

    def __init__(
        self,
        *,
        encoder: Annotated[str | None, a_path] = None,  # a sentence-transformers folder or hub
        # name; null: all-MiniLM-L6-v2, as model=minilm has it
    ) -> None:
        try:
            import setfit  # noqa: F401
        except ImportError:
            raise ValueError(
                'learner=setfit needs a package: pip install "metaformer-cli[setfit]"'
            ) from None
        self.folder = (find(encoder) if encoder else find_minilm()).folder

    def adaptation(self, meta: Parameters, support: Examples) -> Iterator[Predictor]:
        """Fine-tune on the support set: one predictor."""
        del meta  # empty
        from datasets import Dataset
        from setfit import SetFitModel, Trainer, TrainingArguments

        for name in ("setfit", "sentence_transformers", "transformers", "datasets"):
            logging.getLogger(name).setLevel(logging.ERROR)
        texts, labels = [row[0] for row in support.rows], support.targets.tolist()
        silence = StringIO()  # it prints its losses and bars, whatever it is told
        with (
            TemporaryDirectory() as folder,
            redirect_stdout(silence),
            redirect_stderr(silence),
            torch.random.fork_rng(devices=[]),
            warnings.catch_warnings(action="ignore"),  # on what it asks of other libraries
        ):
            model = SetFitModel.from_pretrained(str(self.folder))
            arguments = TrainingArguments(
                output_dir=folder, save_strategy="no", report_to="none", show_progress_bar=False
            )
            rows = Dataset.from_dict({"text": texts, "label": labels})
            Trainer(model=model, args=arguments, train_dataset=rows).train()
        ways = len(support.inputs["classes"])

        def predictor(examples: Examples) -> Tensor:
            found = model.predict_proba([row[0] for row in examples.rows], show_progress_bar=False)
            found_NM = torch.as_tensor(found, dtype=torch.float32).clamp(min=SMALLEST).log()
            at = at_classes(found_NM, model.model_head.classes_, ways)
            return at.to(examples.targets.device)

        yield predictor
