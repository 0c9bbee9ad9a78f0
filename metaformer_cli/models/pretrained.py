"""`model=pretrained`: an encoder of texts in Hugging Face's layout, read and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, ClassVar, Literal, Protocol

from tokenizers import Tokenizer, normalizers

from metaformer_cli.atomic import replacing_folder
from metaformer_cli.choices import a_path, matching, model
from metaformer_cli.models.bert import ROBERTAS, Shape
from metaformer_cli.models.bert_encoder import BertEncoder
from metaformer_cli.models.classifier import Classifier
from metaformer_cli.models.hub import Source, check_model, check_sha256, find, one_line
from metaformer_cli.models.model import Parameters, strip
from metaformer_cli.models.padded_encoder import PADDED, PaddedEncoder
from metaformer_cli.models.pretrained_encoder import (
    ARCHITECTURES,
    PretrainedEncoder,
    first_position,
    quiet_transformers,
)
from metaformer_cli.models.sentence_modules import Modules, read_modules, write_modules
from metaformer_cli.models.weights import Weights
from metaformer_cli.seal import SUMS, check_folder, seal_folder

FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
ENCODER = "encoder.json"  # among what it brings: pooling, normalize, max_tokens


class Reader(Protocol):
    """What the task says of its inputs."""

    max_tokens: int
    ways: int


class BroughtClassifier(Classifier):
    """An encoder in Hugging Face's layout, and a head.

    What it brings are its configuration and its tokenizer: with both, and the weights in a
    checkpoint, a run needs the folder or the hub that it started from no more.

    Args:
        reader: the longest text, the most classes.
        own: what `bring` gave.
        restored: whether a checkpoint's weights will replace these.
        path: a hub name or a folder; nothing where the class knows its own.

    Raises:
        ValueError: see `encoder_of`.
    """

    pretrained = True
    # found on validation classes of three data sets: docs/results.md, "The recipe"
    suits: ClassVar[Mapping[str, float | str]] = {
        "learner.inner_lr": 0.3,
        "learner.adapt": "head",
        "train.lr": 3e-5,
        "train.joint_lr": 3e-5,
        "train.start_share": 0.5,
    }

    encoder: BertEncoder | PretrainedEncoder

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        path: str = "",
        *,
        pooling: Literal["mean", "first", "last", "max"]
        | None = None,  # a text's vector, from its tokens'; null: as its modules.json says, or mean
        sha256: Annotated[
            str | None, matching(r"[0-9a-f]{64}", "64 hexadecimal digits of a SHA-256")
        ] = None,  # of the weights that a run starts from; null: of those that are found
        **options: Any,
    ) -> None:
        self.files: dict[str, str] = json.loads(own)
        self.path, self.sha256, self.restored = path, sha256, restored
        self.features_by: dict[str, Any] = json.loads(self.files[ENCODER])
        encoder = encoder_of(
            self.files["config.json"],
            None if restored else self._weights(),
            pooling=pooling or self.features_by["pooling"],
            normalize=self.features_by["normalize"],
            max_tokens=reader.max_tokens,
            longest=self.features_by["max_tokens"],
        )
        super().__init__(encoder, reader.ways, **options)

    @classmethod
    def source(cls, path: str) -> Source:
        """Where its files are.

        Raises:
            ValueError: they are nowhere.
        """
        return find(path)

    @classmethod
    def bring(cls, **options: Any) -> str:
        """The model's configuration, tokenizer and modules: the text of each file, as JSON.

        Raises:
            ValueError: `transformers` cannot load this, or the tokenizer is missing, not one of
                the `tokenizers` library, or has ids that the model has not.
        """
        source, modules = cls.found(options)
        return json.dumps(cls.read(source, modules), ensure_ascii=False)

    @classmethod
    def read(cls, source: Source, modules: Modules) -> dict[str, str]:
        """The text of each of `FILES`, and of `ENCODER`: see `bring`."""
        return read_files(source, modules)

    @classmethod
    def pin(cls, **options: Any) -> dict[str, Any]:
        """The options with the hash of the weights, which must be the one given, if any is."""
        source, modules = cls.found(options)
        expected = options["sha256"] or source.sha256
        return {**options, "sha256": check_sha256(source, modules.transformer, expected)}

    @classmethod
    def found(cls, options: dict[str, Any]) -> tuple[Source, Modules]:
        """Where its files are, and what they say of the way to a text's vector.

        Raises:
            ValueError: a run wrote them, and they are not what it wrote any more.
        """
        source = cls.source(options.get("path", ""))
        if (source.folder / SUMS).exists():
            try:
                check_folder(source.folder)
            except ValueError as error:
                raise ValueError(
                    f"{source.called}: {error}; get it again (a run that is resumed writes it "
                    f"anew), or remove {SUMS} if you changed it yourself"
                ) from None
        modules = read_modules(source.called, source.folder, options.get("pooling"))
        check_model(source, modules.transformer)
        return source, modules

    def _weights(self) -> Weights:
        """The weights that a run starts from, whose hash is checked.

        Raises:
            ValueError: they are nowhere, or others.
        """
        source = self.source(self.path)
        pooling = self.features_by["pooling"]
        folder = read_modules(source.called, source.folder, pooling).transformer
        check_sha256(source, folder, self.sha256 or source.sha256)
        return Weights(source.called, folder)

    def add_lora(self, rank: int) -> None:
        """As for every classifier; the frozen weights, which are in no checkpoint, are read."""
        if self.restored:
            self.encoder.load(self._weights())
        super().add_lora(rank)

    def export(self, folder: Path, parameters: Callable[[], Parameters]) -> str:
        """Write the encoder and its tokenizer in Hugging Face's layout; LoRA merged.

        Args:
            folder: where to; what is there is replaced once the new one is whole.
            parameters: gives the meta-parameters.

        Returns:
            What it is for, in words.

        Raises:
            OSError: it cannot be written.
        """
        encoder, most = self.encoder, self.features_by["max_tokens"]
        with replacing_folder(folder) as aside:
            encoder.save(aside, strip(parameters(), "encoder."))
            for name in ("tokenizer.json", "tokenizer_config.json"):
                (aside / name).write_text(self.files[name], "utf-8")
            write_modules(aside, encoder.pooling, normalize=encoder.normalize, max_tokens=most)
            seal_folder(aside)
        return f"encoder  {folder}: for from_pretrained of transformers"


@model("pretrained", inputs=("text",), outputs=("classes",), name_is="path")
class PretrainedClassifier(BroughtClassifier):
    """A pretrained encoder of your choice, in Hugging Face's layout."""

    def __init__(
        self,
        reader: Reader,
        own: str,
        restored: bool,
        *,
        path: Annotated[str, a_path],  # a hub name, or a folder
        **options: Any,
    ) -> None:
        super().__init__(reader, own, restored, path, **options)


def encoder_of(
    config: str,
    weights: Weights | None,
    *,
    pooling: str,
    normalize: bool,
    max_tokens: int,
    longest: int | None,
) -> BertEncoder | PretrainedEncoder:
    """The encoder of a config.json: on our own blocks if they can, else by `transformers`.

    Args:
        config: the text of the file.
        weights: what to read; None: any, for a checkpoint to replace.
        pooling: of token vectors.
        normalize: whether features have unit length, times a learned radius.
        max_tokens: the longest sequence.
        longest: the most that it may be, in tokens; None: any.

    Raises:
        ValueError: the model reads fewer tokens; or see `BertEncoder` and `PretrainedEncoder`.
    """
    if longest is not None and max_tokens > longest:
        raise ValueError(
            f"task.max_tokens={max_tokens}: the pretrained model reads at most {longest}; "
            f"give task.max_tokens={longest}"
        )
    values = json.loads(config)
    if shape := Shape.of(values):
        return BertEncoder(shape, config, weights, pooling=pooling, normalize=normalize)
    theirs = PaddedEncoder if values["model_type"] in PADDED else PretrainedEncoder
    return theirs(config, weights, pooling=pooling, normalize=normalize)


def read_files(source: Source, modules: Modules) -> dict[str, str]:
    """The text of each of `FILES`, as `transformers` completes them, and of `ENCODER`.

    Raises:
        ValueError: as for `BroughtClassifier.bring`.
    """
    transformers = quiet_transformers()
    called, folder = source.called, modules.transformer
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001, transformers raises what its parts raise
        raise ValueError(
            f"{called}: expected a hub name or a folder with config.json and tokenizer.json; "
            f"transformers cannot load it ({one_line(error)})"
        ) from None
    if not tokenizer.is_fast:
        raise ValueError(
            f"{called}: its tokenizer is in Python, and metaformer needs a "
            "tokenizer.json; expected another model"
        )
    if tokenizer.get_vocab().keys() <= {*tokenizer.all_special_tokens}:  # made up from nothing
        raise ValueError(f"{called}: the tokenizer's files are missing; expected tokenizer.json")
    highest = max(tokenizer.get_vocab().values())
    if highest >= config.vocab_size:
        raise ValueError(
            f"{called}: the tokenizer has ids up to {highest}, but the model embeds "
            f"{config.vocab_size} tokens; expected the tokenizer that belongs to the model, or a "
            "model that was resized to it (resize_token_embeddings, then save_pretrained)"
        )
    with TemporaryDirectory() as temporary:
        config.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        files = {name: (Path(temporary) / name).read_text("utf-8") for name in FILES}
    if modules.lower_case:
        files["tokenizer.json"] = lower_case(files["tokenizer.json"])
    reads = [length for length in (longest(called, config), modules.max_tokens) if length]
    return {**files, ENCODER: features_by(modules, reads)}


def features_by(modules: Modules, reads: Sequence[int]) -> str:
    """How token vectors become features, and the longest text, as `ENCODER` holds them."""
    features = {
        "pooling": modules.pooling,
        "normalize": modules.normalize,
        "max_tokens": min(reads, default=None),
    }
    return json.dumps(features)


def longest(called: str, config: Any) -> int | None:
    """How many tokens the model of a Hugging Face configuration reads; None: any number.

    Raises:
        ValueError: metaformer does not know its architecture, or cannot tell.
    """
    kind = config.model_type
    if kind not in (*ARCHITECTURES, *PADDED):
        raise ValueError(
            f"{called}: metaformer does not know the architecture {kind}; expected one of "
            f"{', '.join(sorted((*ARCHITECTURES, *PADDED)))}"
        )
    if kind in ROBERTAS and config.pad_token_id is None:
        raise ValueError(
            f"{called}: its config.json has no pad_token_id, from which a {kind} counts positions; "
            "expected the number of <pad> there, such as 1"
        )
    if kind == "t5":
        return None
    return int(config.max_position_embeddings) - (2 if kind == "mpnet" else first_position(config))


def lower_case(tokenizer: str) -> str:
    """A tokenizer.json that puts texts into lower case first."""
    made = Tokenizer.from_str(tokenizer)
    before = [made.normalizer] if made.normalizer else []
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])
    return made.to_str()
