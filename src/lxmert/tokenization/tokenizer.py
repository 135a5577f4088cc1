"""`LxmertTokenizer` and `LxmertTokenizerFast`: one implementation, two argument orders.

The documentation of LXMERT describes a Python tokenizer and a fast one. Both split text in the same way, and
transformers 5 keeps only the fast one under both names. So do we: the Rust `tokenizers` pipeline is assembled
here from the options of both, every option works in both classes, and the two differ only in the order of
their arguments.

Shape legend: B texts, W word pieces of a text, special tokens included.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers.models import WordPiece
from transformers.tokenization_utils_base import BatchEncoding, PreTrainedTokenizerBase
from transformers.tokenization_utils_tokenizers import TokenizersBackend

from lxmert.errors import VocabularyError
from lxmert.tokenization import backend, pipeline, special_tokens, vocabulary
from lxmert.tokenization.prepare_for_model import PrepareForModelMixin, empty_batch
from lxmert.tokenization.tensors import TENSORFLOW, to_tensorflow
from lxmert.tokenization.truncation import translate_truncation_errors
from lxmert.tokenization.vocabulary import VocabularySource

# Setting one of these on a tokenizer takes effect at once.
_MUTABLE = {"do_lower_case", "do_basic_tokenize", "tokenize_chinese_chars", "strip_accents", "clean_text"}
_MUTABLE |= {name + suffix for name in ("cls_token", "sep_token", "unk_token") for suffix in ("", "_id")}
# These decide what the vocabulary means: they are fixed when the tokenizer is made.
_FIXED = {"never_split", "wordpieces_prefix"}
_FORMER_EXTRA = "additional_special_tokens"
_IS_ADDING = "_is_adding_special_tokens"


class LxmertTokenizer(PrepareForModelMixin, TokenizersBackend):
    """WordPiece tokenizer of LXMERT: text to ids `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, and back.

    Args:
        vocab_file: path of a vocab.txt, one word piece a line. A dict or list as in `vocab` is accepted too.
        do_lower_case: lower-case the text (and, unless `strip_accents` says otherwise, strip accents).
        do_basic_tokenize: clean the text and split at punctuation before WordPiece. False splits at white
            space only and leaves letters, accents and punctuation as they are.
        never_split: words that stay whole wherever no letter, digit or underscore touches them. Those outside
            the vocabulary become one unknown token. Only has an effect with `do_basic_tokenize`.
        unk_token: stands for what the vocabulary cannot spell.
        sep_token: ends each sequence.
        pad_token: fills up the shorter texts of a batch.
        cls_token: begins the sequence.
        mask_token: stands for a hidden word in masked language modelling.
        tokenize_chinese_chars: make each Chinese character a word of its own; switch off for Japanese.
        strip_accents: strip accents; None means: when lower-casing.
        vocab: the vocabulary: path, dict from word piece to id, or list in the order of the ids.
        tokenizer_file: path of a tokenizer.json; options left at their default are then read from it.
        clean_text: remove control characters and turn every white space into a plain space.
        wordpieces_prefix: marks a word piece that continues a word.
        **kwargs: as in every transformers tokenizer, e.g. `model_max_length`, `padding_side`.

    Raises:
        VocabularyError: no vocabulary is given, or it is missing, empty or inconsistent.
    """

    vocab_files_names = {"vocab_file": "vocab.txt", "tokenizer_file": "tokenizer.json"}  # noqa: RUF012
    model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # noqa: RUF012
    model = WordPiece

    def __init__(
        self,
        vocab_file: VocabularySource | None = None,
        do_lower_case: bool = True,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        *,
        vocab: VocabularySource | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        clean_text: bool = True,
        wordpieces_prefix: str = "##",
        **kwargs: Any,
    ) -> None:
        never_split_words = pipeline.validate_never_split(never_split)
        options: dict[str, Any] = {
            "do_lower_case": do_lower_case,
            "do_basic_tokenize": do_basic_tokenize,
            "never_split": list(never_split_words) if never_split_words else None,
            "tokenize_chinese_chars": tokenize_chinese_chars,
            "strip_accents": strip_accents,
            "clean_text": clean_text,
            "wordpieces_prefix": wordpieces_prefix,
        }
        special = {"unk_token": unk_token, "sep_token": sep_token, "pad_token": pad_token}
        special |= {"cls_token": cls_token, "mask_token": mask_token}
        kwargs.pop("merges", None)  # WordPiece has none; loaders made for every kind of tokenizer pass them
        source = vocab_file if vocab is None else vocab
        if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(".json"):
            source, tokenizer_file = None, source
        tokenizer = backend.pop_backend(kwargs)
        if tokenizer is None and source is not None and (vocab is not None or tokenizer_file is None):
            words = vocabulary.read_vocabulary(source)
            tokenizer = backend.create_backend(words, unk_token, wordpieces_prefix)
        elif tokenizer is None and tokenizer_file is not None:
            tokenizer = backend.read_backend(tokenizer_file)
            options = backend.complete_options(options, tokenizer)
        elif tokenizer is None:
            raise vocabulary.missing_vocabulary_error(kwargs.get("name_or_path"))
        vocabulary.require_known_words(tokenizer.get_vocab(), map(str, special.values()))
        self._tokenizer = tokenizer
        self.__dict__.update(options)
        super().__init__(**options, **special, **kwargs)
        self.vocab_file = os.fspath(source) if isinstance(source, str | os.PathLike) else None
        self._is_pipeline_built = True
        self._rebuild_pipeline()

    def _rebuild_pipeline(self) -> None:
        """Bring the Rust pipeline in line with the options and the special tokens of this object."""
        tokenizer = self._tokenizer
        options = self._options()
        backend.set_model(tokenizer, self.unk_token, options.wordpieces_prefix)
        unknown = self._add_never_split_tokens(options) if options.do_basic_tokenize else []
        length = tokenizer.model.max_input_chars_per_word
        tokenizer.normalizer = pipeline.build_normalizer(options, unknown, length)
        tokenizer.pre_tokenizer = pipeline.build_pre_tokenizer(options)
        tokenizer.decoder = pipeline.build_decoder(options)
        self.update_post_processor()

    def _options(self) -> pipeline.TextOptions:
        return pipeline.TextOptions(
            do_lower_case=self.do_lower_case,
            do_basic_tokenize=self.do_basic_tokenize,
            never_split=tuple(self.never_split or ()),
            tokenize_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            clean_text=self.clean_text,
            wordpieces_prefix=self.wordpieces_prefix,
        )

    def _add_never_split_tokens(self, options: pipeline.TextOptions) -> list[str]:
        """Add the never-split words that have an id as tokens; return those that have none."""
        special = set(self.all_special_tokens)  # these are never split anyway
        bert = pipeline.bert_normalizer(options)
        known, unknown = [], []
        for word in options.never_split:
            normal = bert.normalize_str(word)
            spelling = word if self._tokenizer.token_to_id(word) is not None else normal
            if word in special:
                continue
            if self._tokenizer.token_to_id(spelling) is None:
                unknown.append(word)
            else:
                # A normalised form also matches text that normalises to it ("Don't" when lower-casing); any
                # other spelling matches only itself: a known "US" must not swallow "us".
                known.append(AddedToken(spelling, single_word=True, normalized=spelling == normal))
        self._tokenizer.add_tokens(known)
        return unknown

    def update_post_processor(self) -> None:
        """Rebuild `[CLS] A [SEP] B [SEP]` after a change of its tokens; LXMERT does not use BOS or EOS."""
        for name in ("bos", "eos"):
            if getattr(self, f"{name}_token") is None:
                object.__setattr__(self, f"_add_{name}_token", False)
        self._tokenizer.post_processor = pipeline.build_post_processor(
            self._token_and_id("cls"), self._token_and_id("sep")
        )

    def _token_and_id(self, name: str) -> tuple[str, int] | None:
        token, index = getattr(self, f"{name}_token"), getattr(self, f"{name}_token_id")
        return None if token is None or index is None else (token, index)

    def __setattr__(self, key: str, value: Any) -> None:
        # add_special_tokens sets tokens before it gives them ids, and rebuilds the pipeline once, at its end.
        ready = self.__dict__.get("_is_pipeline_built", False) and not self.__dict__.get(_IS_ADDING, False)
        if ready and key in _FIXED:
            raise AttributeError(
                f"{key} is fixed when the tokenizer is created; create another one with {key}={value!r}"
            )
        if ready:
            names = self.SPECIAL_TOKENS_ATTRIBUTES
            special_tokens.require_known_token(self._tokenizer, names, key, value)
        super().__setattr__(key, value)
        if ready and key in _MUTABLE:
            self._rebuild_pipeline()

    @property
    def additional_special_tokens(self) -> list[str]:
        """The name of `extra_special_tokens` before version 5 of transformers."""
        return [str(token) for token in self.extra_special_tokens]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[str | AddedToken]) -> None:
        self.extra_special_tokens = list(tokens)

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, str | AddedToken | Sequence[str | AddedToken]],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """See transformers: set special tokens, and add those that are not in the vocabulary: all or none.

        Raises:
            ValueError: a name or a value is not that of a special token.
            VocabularyError: an empty token, which has no id.
        """
        values = dict(special_tokens_dict or {})
        if _FORMER_EXTRA in values and not values.get(special_tokens.EXTRA):
            values[special_tokens.EXTRA] = values.pop(_FORMER_EXTRA)
        special_tokens.require_texts(self._tokenizer, self.SPECIAL_TOKENS_ATTRIBUTES, values)
        before = {
            "_special_tokens_map": dict(self._special_tokens_map),
            "_extra_special_tokens": list(self._extra_special_tokens),
        }
        self.__dict__[_IS_ADDING] = True
        try:
            added: int = super().add_special_tokens(values, replace_extra_special_tokens)
        except BaseException:
            self.__dict__.update(before)
            raise
        finally:
            self.__dict__[_IS_ADDING] = False
        return added

    def _add_tokens(self, new_tokens: Sequence[str | AddedToken], special_tokens: bool = False) -> int:
        added: int = super()._add_tokens(new_tokens, special_tokens=special_tokens)
        if self.__dict__.get("_is_pipeline_built", False):
            self._rebuild_pipeline()
        return added

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        if kwargs.get("return_tensors") == TENSORFLOW:
            arrays = kwargs | {"return_tensors": "np"}
            return to_tensorflow(self._encode_plus(text, text_pair, **arrays))
        is_split = kwargs.get("is_split_into_words", False)
        if isinstance(text, list | tuple) and not text and not text_pair and not is_split:
            return empty_batch(self.model_input_names, **kwargs)
        adds_special = kwargs.get("add_special_tokens", True)
        first = text[0] if isinstance(text, list) and text else None
        is_list_of_pairs = isinstance(first, tuple) and not is_split
        is_pair = bool(text_pair) or is_list_of_pairs
        special = self.num_special_tokens_to_add(pair=is_pair) if adds_special else 0
        with translate_truncation_errors(special, **kwargs):
            return super()._encode_plus(text, text_pair=text_pair, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load from a folder or the hub, as every transformers tokenizer; a malformed file is an error."""
        name = os.fspath(pretrained_model_name_or_path)
        config = Path(name, kwargs.get("subfolder") or "", "tokenizer_config.json")
        if config.is_file():
            backend.read_json_settings(config)
        try:
            return super().from_pretrained(name, *args, **kwargs)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise VocabularyError(
                f"a tokenizer file of {name!r} is not JSON ({error}); save it again"
            ) from error
        except (LookupError, AttributeError, TypeError, ValueError, RecursionError) as error:
            # For JSON that is not a tokenizer, the library raises many kinds of errors.
            if (file := config.with_name("tokenizer.json")).is_file():
                backend.read_backend(file)
            if isinstance(error, RecursionError):
                raise VocabularyError(
                    f"a tokenizer file of {name!r} is nested too deeply; save it again"
                ) from error
            raise

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Return the arguments of `__init__` from a folder's files; tokenizer_config.json has precedence."""
        file = kwargs.get("tokenizer_file")
        if file is not None and kwargs.get("vocab") is None:
            tokenizer = backend.read_backend(file)
            kwargs = {**backend.backend_options(tokenizer), **kwargs, "_backend": tokenizer}
        return kwargs

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.txt (without added tokens) into a folder, or to the file of that name.

        Returns:
            The path of the file.
        """
        path = Path(save_directory)
        if path.is_dir():
            path = path / self.vocab_files_names["vocab_file"]
        if filename_prefix:
            path = path.with_name(f"{filename_prefix}-{path.name}")
        vocabulary.write_vocabulary(path, self._tokenizer.get_vocab(with_added_tokens=False))
        return (str(path),)

    def _save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        file_names: tuple[str, ...],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
    ) -> tuple[str, ...]:
        """Write tokenizer.json and vocab.txt; `legacy_format` False leaves out the second, True the first."""
        config_file = Path(file_names[0])
        if not self._options().is_supported_by_transformers:
            # Makes transformers load tokenizer.json as it is: its own LXMERT class would drop some options.
            _update_settings(
                config_file,
                {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": self.model_input_names},
            )
        if legacy_format:
            # The list of added tokens that follows has their texts only, not how they match.
            tokens = {index: token.__getstate__() for index, token in self.added_tokens_decoder.items()}
            _update_settings(config_file, {"added_tokens_decoder": tokens})
            names: tuple[str, ...] = PreTrainedTokenizerBase._save_pretrained(
                self, save_directory, file_names, filename_prefix=filename_prefix
            )
            return names
        names = super()._save_pretrained(save_directory, file_names, legacy_format, filename_prefix)
        if legacy_format is None:
            names += self.save_vocabulary(str(save_directory), filename_prefix)
        return names


class LxmertTokenizerFast(LxmertTokenizer):
    """`LxmertTokenizer` under its other name: same options, same ids, the fast class's order of arguments.

    See `LxmertTokenizer` for the arguments and errors.
    """

    slow_tokenizer_class = LxmertTokenizer

    def __init__(
        self,
        vocab_file: VocabularySource | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        do_lower_case: bool = True,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        tokenize_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            vocab_file,
            do_lower_case,
            tokenizer_file=tokenizer_file,
            unk_token=unk_token,
            sep_token=sep_token,
            pad_token=pad_token,
            cls_token=cls_token,
            mask_token=mask_token,
            tokenize_chinese_chars=tokenize_chinese_chars,
            strip_accents=strip_accents,
            **kwargs,
        )


def _update_settings(file: Path, settings: dict[str, Any]) -> None:
    """Add settings to a tokenizer_config.json."""
    text = json.dumps(
        backend.read_json_settings(file) | settings, indent=2, sort_keys=True, ensure_ascii=False
    )
    file.write_text(text + "\n", encoding="utf-8")
