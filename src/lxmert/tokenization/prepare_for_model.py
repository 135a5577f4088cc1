"""Preparation of ids for the model: special tokens, truncation, padding, masks.

The methods that transformers 4 documents for its tokenizers and transformers 5 dropped from the fast ones.
Lengths count word pieces; ids are lists of int.
"""

from typing import Any

import numpy as np
from transformers.tokenization_utils_base import BatchEncoding, TruncationStrategy

from lxmert.errors import InputError
from lxmert.tokenization.tensors import TENSORFLOW, to_numpy, to_tensorflow
from lxmert.tokenization.truncation import require_room


class PrepareForModelMixin:
    """Special tokens around ids, `prepare_for_model` and the older names of calling the tokenizer."""

    truncation_side: str
    model_input_names: list[str]

    def encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        """One text or pair; the older name of calling the tokenizer, with the same keyword arguments."""
        return self(text, text_pair, **kwargs)  # type: ignore[operator]

    def batch_encode_plus(self, batch_text_or_text_pairs: list[Any], **kwargs: Any) -> BatchEncoding:
        """A list of texts, or of (text, pair) tuples; the older name of calling the tokenizer with a list."""
        return self(list(batch_text_or_text_pairs), **kwargs)  # type: ignore[operator]

    def prepare_for_model(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        add_special_tokens: bool = True,
        padding: Any = False,
        truncation: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        prepend_batch_axis: bool = False,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Turn the ids of one sequence, or of a pair, into the inputs of the model.

        Args:
            ids: ids of the first sequence without special tokens, as returned by `convert_tokens_to_ids`.
            pair_ids: ids of the second sequence, or None.
            add_special_tokens: put [CLS] and [SEP] around the sequences.
            padding: as in calling the tokenizer; the target length is `max_length` or a multiple.
            truncation: as in calling the tokenizer.
            max_length: greatest length, special tokens included.
            stride: number of kept ids that `overflowing_tokens` repeats.
            pad_to_multiple_of: pad the length up to a multiple of this.
            padding_side: "right" or "left"; None means the tokenizer's own.
            return_tensors: "pt", "np", "tf", or None for lists.
            return_token_type_ids: None means as `model_input_names` says.
            return_attention_mask: None means as `model_input_names` says.
            return_overflowing_tokens: also return `overflowing_tokens` and `num_truncated_tokens` (the length
                above `max_length`, negative when there was room).
            return_special_tokens_mask: also return `special_tokens_mask`, 1 for special tokens.
            return_length: also return `length`.
            verbose: warn when the result is longer than the model accepts.
            prepend_batch_axis: return tensors of shape (1, W) instead of (W,).
            **kwargs: passed to the choice of the padding and truncation strategies.

        Returns:
            `input_ids` and, where asked for, the fields above, each of length W.

        Raises:
            InputError: overflowing ids of a pair asked for under longest_first, which truncates both.
        """
        tokenizer: Any = self
        padding_strategy, strategy, max_length, _ = tokenizer._get_padding_truncation_strategies(
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            verbose=verbose,
            **kwargs,
        )
        if (
            return_overflowing_tokens
            and pair_ids is not None
            and strategy is TruncationStrategy.LONGEST_FIRST
        ):
            raise InputError(
                "the overflowing tokens of a pair cannot be told apart under truncation='longest_first'; "
                "use 'only_first' or 'only_second'"
            )
        special = tokenizer.num_special_tokens_to_add(pair=pair_ids is not None) if add_special_tokens else 0
        length = len(ids) + len(pair_ids or []) + special
        excess = 0 if max_length is None else length - max_length
        overflow: list[int] = []
        if max_length is not None and strategy is not TruncationStrategy.DO_NOT_TRUNCATE and excess > 0:
            require_room(max_length, special)
            ids, pair_ids, overflow = self.truncate_sequences(ids, pair_ids, excess, strategy, stride)
        features = self._build_features(ids, pair_ids, add_special_tokens)
        if not _is_returned(return_token_type_ids, "token_type_ids", self.model_input_names):
            del features["token_type_ids"]
        if not return_special_tokens_mask:
            del features["special_tokens_mask"]
        if return_overflowing_tokens:
            features |= {"overflowing_tokens": overflow, "num_truncated_tokens": excess}
        tokenizer._eventual_warn_about_too_long_sequence(features["input_ids"], max_length, verbose)
        padded = tokenizer.pad(
            features,
            padding=padding_strategy.value,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=_is_returned(
                return_attention_mask, "attention_mask", self.model_input_names
            ),
        )
        if return_length:
            padded["length"] = len(padded["input_ids"])
        wants_tensorflow = return_tensors == TENSORFLOW
        tensor_type = "np" if wants_tensorflow else return_tensors
        encoding = BatchEncoding(dict(padded), tensor_type=tensor_type, prepend_batch_axis=prepend_batch_axis)
        return to_tensorflow(encoding) if wants_tensorflow else encoding

    def pad(
        self,
        encoded_inputs: Any,
        padding: Any = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad encodings to the same length, as every transformers tokenizer does.

        Args:
            encoded_inputs: one encoding, a list of them, or one of a batch; of lists, or of arrays or tensors
                of any library.
            padding: as in calling the tokenizer.
            max_length: the target length under padding="max_length".
            pad_to_multiple_of: pad the length up to a multiple of this.
            padding_side: "right" or "left"; None means the tokenizer's own.
            return_attention_mask: None means as `model_input_names` says.
            return_tensors: "pt", "np", "tf", or None for the type passed in (NumPy for TensorFlow's tensors).
            verbose: see transformers.

        Returns:
            The fields given, and `attention_mask`, each (W,) or (B, W).
        """
        wants_tensorflow = return_tensors == TENSORFLOW
        padded: BatchEncoding = super().pad(  # type: ignore[misc]
            to_numpy(encoded_inputs),
            padding=padding,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=return_attention_mask,
            return_tensors="np" if wants_tensorflow else return_tensors,
            verbose=verbose,
        )
        return to_tensorflow(padded) if wants_tensorflow else padded

    def decode(self, token_ids: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the text of ids, as every transformers tokenizer; TensorFlow tensors are accepted too."""
        return super().decode(to_numpy(token_ids), *args, **kwargs)  # type: ignore[misc]

    def truncate_sequences(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str | TruncationStrategy = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Shorten a sequence or a pair by `num_tokens_to_remove` ids on the side of `truncation_side`.

        Returns:
            The two sequences, and the ids removed from the truncated one together with the `stride` ids next
            to them; no removed ids are returned when longest_first truncates a pair.

        Raises:
            InputError: the sequence named by the strategy is too short for it.
        """
        strategy = TruncationStrategy(truncation_strategy)
        if num_tokens_to_remove <= 0 or strategy is TruncationStrategy.DO_NOT_TRUNCATE:
            return ids, pair_ids, []
        if strategy is TruncationStrategy.LONGEST_FIRST and pair_ids is not None:
            first, second = _truncated_lengths(len(ids), len(pair_ids), num_tokens_to_remove)
            return self._truncate(ids, first), self._truncate(pair_ids, second), []
        truncates_second = strategy is TruncationStrategy.ONLY_SECOND
        sequence = pair_ids if truncates_second else ids
        if sequence is None or len(sequence) < num_tokens_to_remove:
            advice = "a larger max_length"
            if strategy is not TruncationStrategy.LONGEST_FIRST:
                advice = f"truncation='longest_first' or {advice}"
            raise InputError(
                f"cannot remove {num_tokens_to_remove} ids under truncation={strategy.value!r} from a "
                f"sequence of {len(sequence or [])}; use {advice}"
            )
        window = min(len(sequence), stride + num_tokens_to_remove)
        removed = sequence[:window] if self.truncation_side == "left" else sequence[len(sequence) - window :]
        truncated = self._truncate(sequence, len(sequence) - num_tokens_to_remove)
        return (ids, truncated, removed) if truncates_second else (truncated, pair_ids, removed)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`[CLS] X [SEP]` or `[CLS] A [SEP] B [SEP]` as ids (W,)."""
        cls, sep = self._cls_and_sep()
        return [*cls, *token_ids_0, *sep, *([] if token_ids_1 is None else [*token_ids_1, *sep])]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Types (W,) of the sequences with their special tokens: 0 up to the first [SEP], 1 from there on."""
        cls, sep = self._cls_and_sep()
        second = 0 if token_ids_1 is None else len(token_ids_1) + len(sep)
        return [0] * (len(cls) + len(token_ids_0) + len(sep)) + [1] * second

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Mask (W,): 1 for a special token, 0 for a token of a sequence.

        Args:
            token_ids_0: ids of the first sequence, or of the whole input when `already_has_special_tokens`.
            token_ids_1: ids of the second sequence, or None.
            already_has_special_tokens: the ids include special tokens, all of which are marked.
        """
        if already_has_special_tokens:
            mask: list[int] = super().get_special_tokens_mask(  # type: ignore[misc]
                token_ids_0, token_ids_1, already_has_special_tokens=True
            )
            return mask
        cls, sep = ([1] * len(token) for token in self._cls_and_sep())
        second = [] if token_ids_1 is None else [0] * len(token_ids_1) + sep
        return cls + [0] * len(token_ids_0) + sep + second

    def _cls_and_sep(self) -> tuple[list[int], list[int]]:
        tokenizer: Any = self
        cls, sep = tokenizer._token_and_id("cls"), tokenizer._token_and_id("sep")
        return [cls[1]] if cls else [], [sep[1]] if sep else []

    def _truncate(self, ids: list[int], length: int) -> list[int]:
        return ids[len(ids) - length :] if self.truncation_side == "left" else ids[:length]

    def _build_features(self, ids: list[int], pair_ids: list[int] | None, special: bool) -> dict[str, Any]:
        tokenizer: Any = self
        if special:
            return {
                "input_ids": tokenizer.build_inputs_with_special_tokens(ids, pair_ids),
                "token_type_ids": tokenizer.create_token_type_ids_from_sequences(ids, pair_ids),
                "special_tokens_mask": tokenizer.get_special_tokens_mask(ids, pair_ids),
            }
        joined = [*ids, *(pair_ids or [])]
        zeros = [0] * len(joined)  # without [SEP] between them, a pair counts as one sequence
        return {"input_ids": joined, "token_type_ids": zeros, "special_tokens_mask": list(zeros)}


def _truncated_lengths(first: int, second: int, remove: int) -> tuple[int, int]:
    """Return the lengths after removing ids one by one from the longer sequence; the second when equal."""
    gap = min(abs(first - second), remove)
    rest = remove - gap
    if first > second:
        first -= gap
    else:
        second -= gap
    return max(first - rest // 2, 0), max(second - (rest - rest // 2), 0)


def _is_returned(requested: bool | None, name: str, defaults: list[str]) -> bool:
    return name in defaults if requested is None else requested


def empty_batch(model_input_names: list[str], **kwargs: Any) -> BatchEncoding:
    """Return the encoding of zero texts, with every field that the call's keyword arguments ask for."""
    names = ["input_ids"]
    for name in ("token_type_ids", "attention_mask"):
        names += [name] if _is_returned(kwargs.get(f"return_{name}"), name, model_input_names) else []
    for name in ("special_tokens_mask", "offsets_mapping", "length"):
        names += [name.replace("offsets", "offset")] if kwargs.get(f"return_{name}") else []
    names += ["overflow_to_sample_mapping"] if kwargs.get("return_overflowing_tokens") else []
    tensor_type = kwargs.get("return_tensors")
    if tensor_type is None:
        return BatchEncoding({name: [] for name in names}, [])
    shapes = {"length": (0,), "overflow_to_sample_mapping": (0,), "offset_mapping": (0, 0, 2)}
    data = {name: np.zeros(shapes.get(name, (0, 0)), dtype=np.int64) for name in names}
    return BatchEncoding(data, [], tensor_type=tensor_type)
