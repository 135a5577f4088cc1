"""From a trained model folder to answers.

`LxmertPredictor` joins a question-answering model with the processor that belongs to it: it extracts the
objects of an image once (`regions`) and answers any number of questions about it (`answer`).
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lxmert.answers import Answer
from lxmert.data.joined_stores import open_stores
from lxmert.data.progress import StartProgress, no_progress
from lxmert.devices import resolve_device
from lxmert.errors import InputError
from lxmert.inference.bulk_questions import Prediction, Question, answer_questions
from lxmert.inference.extractors import extractor_spec
from lxmert.inference.model_setup import ModelSetup
from lxmert.inference.models import ModelLocation, answer_table, find_model
from lxmert.inference.object_names import ObjectNames
from lxmert.inference.object_state_cache import DEFAULT_CACHE_BYTES, ObjectStateCache
from lxmert.model import LxmertForQuestionAnswering
from lxmert.processing import LxmertProcessor
from lxmert.vision.images import ImageSource
from lxmert.vision.regions import Regions
from lxmert.weights.report import load_complete

QUESTIONS_PER_BATCH = 64
"""Bounds the memory of `answer`: 64 questions of 20 words over 36 objects take about 0.3 GB at full size."""


class LxmertPredictor:
    """Answers questions about images; may be shared by threads, and copied to other processes.

    Args:
        model: a question-answering model; it is put into evaluation mode.
        processor: the processor it was trained with, with its answer table.
        cache_bytes: memory for encoded objects of images, so that further questions about an image cost less;
            0 keeps nothing.
        setup: the dtype to answer in, and whether to compile; by default the model as it is.

    Raises:
        InputError: a model of another class, not a processor, or two that do not belong together; the
            extractor of a saved processor, which is built for the first picture, is not checked.

    Example::

        predictor = LxmertPredictor.from_pretrained("unc-nlp/lxmert-vqa-uncased")
        regions = predictor.regions("photo.jpg")
        [[best]] = predictor.answer(regions, ["What is the man holding?"])
        print(best.text, best.probability)
    """

    def __init__(
        self,
        model: LxmertForQuestionAnswering,
        processor: LxmertProcessor,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        setup: ModelSetup | None = None,
    ) -> None:
        _check_types(model, processor)
        _check_compatible(model, processor)
        self._fast = (setup or ModelSetup()).apply(model)
        self.model = model
        self.processor = processor
        self._object_cache = ObjectStateCache(self._fast, cache_bytes)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | ModelLocation,
        *,
        device: str | torch.device | None = None,
        detector: str | Path | None = None,
        answers: str | Path | Sequence[str] | None = None,
        dtype: str = "float32",
        compiled: bool = False,
    ) -> Self:
        """Load a model with its processor.

        The files of a folder or a hub repository (processor_config.json, answers.json) are used. What the
        authors' published models lack is filled in from `lxmert.weights.published`.

        Args:
            name: "scenes" (the embedded model), a model folder, or a hub name; or what
                `lxmert.inference.models.find_model` returns for one.
            device: where to run; the GPU when there is one, else the CPU.
            detector: finds the objects instead of the model's own extractor; see
                `lxmert.inference.extractors.load_extractor`.
            answers: the answers in class order instead of the model's own, or a file that holds them, or
                "vqa" or "gqa" for the published tables.
            dtype: "float32", "bfloat16", "float16", or "auto": bfloat16 where the device has units for it;
                or "int8", compiled on a CPU with AMX or AVX512-VNNI. float32 is the default because,
                unlike in `lxmert predict`, there are too few questions to check lower precision against it.
            compiled: run machine code compiled for the model, which needs a C++ compiler: two minutes
                the first time, seconds later. On a CPU it is kept, with a copy of the weights, in
                `~/.cache/lxmert/compiled` or below `LXMERT_HOME`; the folder may be deleted at any time.

        Raises:
            ConfigurationError: no such device or dtype, or not available here.
            WeightsError: no such model or detector, or its weights cannot be read.
            IncompleteWeightsError: the weights would leave part of the model random.
            DownloadError: a published table that cannot be downloaded.
            InputError: model, detector and answers that do not belong together.
        """
        target = resolve_device(device)
        location = name if isinstance(name, ModelLocation) else find_model(name)
        options = location.hub_options
        if detector is not None:
            options["extractor"] = extractor_spec(str(detector))
        if answers is not None:
            options["answers"] = answer_table(answers)
        processor = LxmertProcessor.from_pretrained(location.name_or_path, **options)
        model, _ = load_complete(LxmertForQuestionAnswering, location.folder, dtype=torch.float32)
        model.to(target)
        return cls(model, processor, setup=ModelSetup(dtype, compiled)).to(model.device)

    def to(self, device: str | torch.device) -> Self:
        """Move the model and its extractor to `device`; returns itself."""
        self._fast.to(device)
        self.processor.to(device)
        return self

    @property
    def needs_boxes(self) -> bool:
        """Whether the model's extractor needs boxes, rather than finding or laying out its own."""
        return self.processor.extractor is not None and self.processor.extractor.needs_boxes

    def regions(self, image: ImageSource, boxes_xyxy_px: Tensor | None = None) -> Regions:
        """Extract the regions of one image with the model's own extractor.

        Args:
            image: path, http(s) address, bytes, PIL image or array.
            boxes_xyxy_px: (N, 4) boxes in pixels: required by extractors that need boxes; a detector
                describes them, and finds its own without them.

        Raises:
            InputError: the model has no extractor.
            WeightsError: the extractor's network is not where the processor says, or has changed.
            ImageError: the image cannot be read.
            RegionsError: the boxes do not fit it, or are needed and missing.
        """
        boxes = None if boxes_xyxy_px is None else [boxes_xyxy_px]
        (regions,) = self.processor.regions([image], boxes=boxes)
        return regions

    def check(self, questions: Sequence[str]) -> None:
        """Refuse what `answer` would refuse, before the slower extraction of regions.

        Args:
            questions: at least one.

        Raises:
            VocabularyError: the processor has no answers.
            InputError: not a list of texts.
            TextError: a question that is empty, or has no word that the model knows.
        """
        self.processor.require_answers()
        self.processor(text=_text_list(questions))

    def names(self) -> ObjectNames:
        """Return the names of the extractor's object and attribute classes.

        Raises:
            DownloadError: published vocabularies that cannot be downloaded.
        """
        return ObjectNames.from_extractor(self.processor.extractor)

    @torch.inference_mode()
    def answer(self, regions: Regions, questions: Iterable[str], *, top_k: int = 1) -> list[list[Answer]]:
        """Answer questions about one image.

        Args:
            regions: what `regions` returned, or features of your own.
            questions: any number of questions.
            top_k: number of answers for each, most probable first.

        Returns:
            For each question, `top_k` answers with their probability (softmax over the answer table).

        Raises:
            InputError: not `Regions`, not a list of texts, or `top_k` below 1.
            VocabularyError: the processor has no answers.
            TextError: a question that is empty, or has no word that the model knows.
            TensorError: regions of another feature width than the model's.
        """
        if not isinstance(regions, Regions):
            raise InputError(
                f"regions is a {type(regions).__name__}, expected the result of `regions` for one image: "
                "answer(predictor.regions(image), questions)"
            )
        texts = _text_list(questions)
        answers: list[list[Answer]] = []
        for start in range(0, len(texts), QUESTIONS_PER_BATCH):
            chunk = texts[start : start + QUESTIONS_PER_BATCH]
            words = self.processor(text=chunk).to(self.model.device)
            objects = {
                name: values.expand(len(chunk), -1, *values.shape[2:])
                for name, values in self._object_cache.get(regions).items()
            }
            scores = self._fast.scores(
                self._fast.encode_words(**words), words.get("attention_mask"), **objects
            )
            answers.extend(self.processor.decode_answers(scores, top_k=top_k))
        return answers

    def predict(
        self,
        questions: Iterable[Question],
        *,
        top_k: int = 1,
        features: str | Path | Sequence[str | Path] = (),
        progress: StartProgress = no_progress,
    ) -> Iterator[Prediction]:
        """Answer a stream of questions about any number of images, in the order of the questions.

        Each image is encoded once for all its questions, within the limits of the cache; questions of similar
        length are batched.

        Args:
            questions: consumed lazily, at most some thousands ahead of the answers.
            top_k: number of answers for each, most probable first.
            features: one or more feature stores with the images' objects, used instead of an extractor;
                `Question.image` is then a name in them.
            progress: shows the progress.

        Returns:
            For each question its identifier and `top_k` answers; see `answer_questions` for the errors.
        """
        stores = [features] if isinstance(features, str | Path) else features
        store = open_stores(stores) if stores else None
        return answer_questions(
            self._fast, self.processor, questions, top_k=top_k, features=store, progress=progress
        )


def _text_list(questions: Iterable[str]) -> list[str]:
    if isinstance(questions, str):
        raise InputError("questions is a single text, expected a list of texts: put it in brackets")
    if not isinstance(questions, Iterable):
        raise InputError(f"questions is a {type(questions).__name__}, expected a list of texts")
    return list(questions)


def _check_types(model: object, processor: object) -> None:
    # Modules of other classes pass if they have a configuration: they may wrap a model of ours.
    is_other_model = isinstance(model, PreTrainedModel) and not isinstance(model, LxmertForQuestionAnswering)
    if is_other_model or not isinstance(model, nn.Module) or not hasattr(model, "config"):
        expected = "lxmert.LxmertForQuestionAnswering"
        got = f"{type(model).__module__.partition('.')[0]}.{type(model).__name__}"
        raise InputError(
            f"model is a {got}, expected {expected}; {expected}.from_pretrained loads its folder"
        )
    if not isinstance(processor, LxmertProcessor):
        raise InputError(f"processor is a {type(processor).__name__}, expected an LxmertProcessor")


def _check_compatible(model: LxmertForQuestionAnswering, processor: LxmertProcessor) -> None:
    # A saved extractor stays unbuilt: features that exist already need none.
    config, extractor = model.config, processor.built_extractor
    faults = []
    if processor.answers is not None and len(processor.answers) != config.num_qa_labels:
        faults.append(
            f"the model scores {config.num_qa_labels} answers, the table has {len(processor.answers)}"
        )
    if len(processor.tokenizer) > config.vocab_size:
        faults.append(
            f"the model knows {config.vocab_size} words, the vocabulary has {len(processor.tokenizer)}"
        )
    if extractor is not None and extractor.feature_dim != config.visual_feat_dim:
        faults.append(
            f"the model reads {config.visual_feat_dim} features per object, the extractor makes "
            f"{extractor.feature_dim}"
        )
    if processor.max_text_length > config.max_position_embeddings:
        faults.append(
            f"the model reads texts of {config.max_position_embeddings} word pieces, the processor makes "
            f"up to {processor.max_text_length}"
        )
    if faults:
        raise InputError(f"model and processor do not belong together: {'; '.join(faults)}")
