"""One question about one image, prepared for explanation: its inputs, its words, and an answer to explain.

Shapes: W word pieces with [CLS] and [SEP], G words, N objects, O = max(N, 1) with padding, B variants,
C answers, A heads, H hidden, D feature width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lxmert.answers import Answer, check_finite
from lxmert.cpu import fast_linear_layers
from lxmert.errors import ConfigurationError, InputError
from lxmert.inference.int8 import is_int8
from lxmert.inference.predictor import QUESTIONS_PER_BATCH, LxmertPredictor
from lxmert.texts import wordpiece_prefix
from lxmert.vision.regions import Regions


class Weights(NamedTuple):
    """The result of a method, which documents what the numbers measure.

    Attributes:
        words: (G,) float32.
        objects: (N,) float32.
        full_weight: the weight of a sole cause of the answer; None if the method has no such scale, so that
            weights can only be compared with one another.
    """

    words: Tensor
    objects: Tensor
    full_weight: float | None = None


@dataclass(frozen=True)
class Word:
    """A word of the question, as the tokenizer spells it, and the positions of its pieces among the W."""

    text: str
    positions: tuple[int, ...]


class ForwardPass(NamedTuple):
    """A forward pass that can be differentiated.

    Attributes:
        score: of the answer to explain, before the softmax; a scalar.
        word_vectors: (1, W, H), the word embeddings.
        features: (1, O, D).
        output: the model's output, with all attention maps.
    """

    score: Tensor
    word_vectors: Tensor
    features: Tensor
    output: Any


class Case:
    """One question about one image.

    Args:
        predictor: the model, with its processor.
        regions: the image's objects.
        question: the text.
        answer: the answer to explain, one of the model's; None for its prediction.

    Attributes:
        words: the G words of the question.
        objects: N.
        answer: the answer to explain, with its probability.

    Raises:
        InputError: an answer that the model does not know.
        ConfigurationError: the model is in 8 bits, which has no gradients.
        TextError: a question that is empty, or has no word that the model knows.
        VocabularyError: the processor has no answers.
        TensorError: regions of another feature width than the model's, or infinite or NaN scores.
    """

    def __init__(
        self, predictor: LxmertPredictor, regions: Regions, question: str, answer: str | None = None
    ) -> None:
        self._model = predictor.model
        if is_int8(self._model):
            raise ConfigurationError("a model in 8 bits cannot be explained; load it without dtype='int8'")
        answers = predictor.processor.require_answers()
        if answer is not None and answer not in answers:
            raise InputError(
                f"{answer!r} is not one of the {len(answers)} answers that the model chooses from"
            )
        inputs = predictor.processor(text=[question], regions=[regions]).to(self._model.device)
        self._inputs: dict[str, Tensor] = dict(inputs)
        self.words = _group_word_pieces(predictor.processor.tokenizer, self._inputs["input_ids"][0].tolist())
        self.objects = len(regions)
        no_words, no_objects = (
            torch.zeros(1, count, dtype=torch.bool) for count in (len(self.words), self.objects)
        )
        probabilities = self.probabilities_without(no_words, no_objects)[0]  # (C,)
        label = int(probabilities.argmax()) if answer is None else answers.index(answer)
        self.answer = Answer(answers[label], float(probabilities[label]), label)

    @torch.no_grad()
    def probabilities_without(self, words: Tensor, objects: Tensor) -> Tensor:
        """Return the probabilities of all answers with some words and objects removed.

        Words are hidden by the attention mask, the others keep their positions. Objects are hidden too, and
        their features and boxes are 0, so that an image without any left equals one where none was found.

        Args:
            words: (B, G) bool, True removes a word.
            objects: (B, N) bool, True removes an object.

        Returns:
            (B, C) float32, on the CPU.

        Raises:
            TensorError: scores that are infinite or NaN.
        """
        probabilities = [
            self._probabilities_without(some_words, some_objects)
            for some_words, some_objects in zip(
                words.split(QUESTIONS_PER_BATCH), objects.split(QUESTIONS_PER_BATCH), strict=True
            )
        ]
        return torch.cat(probabilities)

    def _probabilities_without(self, words: Tensor, objects: Tensor) -> Tensor:
        inputs = {
            name: values.repeat(len(words), *[1] * (values.ndim - 1)) for name, values in self._inputs.items()
        }
        device = self._model.device
        for column, word in enumerate(self.words):
            inputs["attention_mask"][:, list(word.positions)] *= ~words[:, column, None].to(device)
        remaining = ~objects.to(device)  # (B, N)
        inputs["visual_attention_mask"][:, : self.objects] *= remaining
        for name in ("visual_feats", "visual_pos"):
            inputs[name][:, : self.objects] *= remaining[..., None]
        with fast_linear_layers(self._model):
            scores = self._model(**inputs, return_dict=True).question_answering_score.float().cpu()
        check_finite(scores)
        return scores.softmax(dim=-1)

    def forward(self) -> ForwardPass:
        """Score the answer with gradients and with all attention maps."""
        with torch.inference_mode(False), torch.enable_grad():
            inputs = {name: values.clone() for name, values in self._inputs.items()}
            embeddings = self._model.get_input_embeddings()
            word_vectors = embeddings(inputs.pop("input_ids")).detach().requires_grad_()
            features = inputs.pop("visual_feats").requires_grad_()
            output = self._model(
                inputs_embeds=word_vectors,
                visual_feats=features,
                output_all_attentions=True,
                return_dict=True,
                **inputs,
            )
            return ForwardPass(
                output.question_answering_score[0, self.answer.label], word_vectors, features, output
            )

    def weights(self, pieces: Tensor, objects: Tensor) -> Weights:
        """Sum weights of pieces (W,) to those of words, and drop padding from those of objects (O,)."""
        pieces = pieces.detach().float().cpu()
        by_word = [pieces[list(word.positions)].sum() for word in self.words]
        return Weights(torch.stack(by_word), objects.detach().float().cpu()[: self.objects])


def _group_word_pieces(tokenizer: Any, token_ids: Sequence[int]) -> tuple[Word, ...]:
    words: list[Word] = []
    pieces, prefix = tokenizer.convert_ids_to_tokens(token_ids), wordpiece_prefix(tokenizer)
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    for position, (token, piece) in enumerate(zip(token_ids, pieces, strict=True)):
        if token in special:
            continue
        if piece.startswith(prefix) and words:
            first = words.pop()
            words.append(Word(first.text + piece.removeprefix(prefix), (*first.positions, position)))
        else:
            words.append(Word(piece, (position,)))
    return tuple(words)
