"""read_corpus: every kind of source becomes sentences about named images; omissions are counted."""

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.corpus import Corpus, read_corpus
from lxmert.data.corpus_sections import CorpusSection, SourceSection
from lxmert.data.feature_store import FeatureStore
from lxmert.data.image_text import ImageText
from lxmert.errors import DataError
from tests.data.file_writers import write_file
from tests.data.stores import random_regions, write_store


def vqa_files(folder: Path) -> None:
    questions = [
        {"image_id": 42, "question": "What is red?", "question_id": 42001},
        {"image_id": 42, "question": "How many?", "question_id": 42000},
        {"image_id": 7, "question": "Is it?", "question_id": 7000},
    ]
    answers = [["Red"] * 3 + ["a red"] * 2 + ["blue"], ["two", "2", "2."], ["yes"] * 10]
    annotations = [
        {
            "question_id": question["question_id"],
            "image_id": question["image_id"],
            "question_type": annotators[-1],
            "answer_type": "other",
            "multiple_choice_answer": annotators[0],
            "answers": [{"answer": answer, "answer_id": n} for n, answer in enumerate(annotators, 1)],
        }
        for question, annotators in zip(questions, answers, strict=True)
    ]
    write_file(folder / "q_val2014.json", {"questions": questions})
    write_file(folder / "a_val2014.json", {"annotations": annotations})


VQA = {"kind": "vqa", "file": "q_{split}.json", "annotations": "a_{split}.json", "split": "val2014"}


def corpus(folder: Path, *sources: dict[str, Any], **options: Any) -> Corpus:
    limits = {
        name: options.pop(name)
        for name in ("missing_images", "only_images", "without_images")
        if name in options
    }
    return read_corpus(CorpusSection(sources=sources, **limits), folder, **options)


class TestSourceKinds:
    def test_vqa_questions_have_soft_answers_and_coco_names(self, tmp_path: Path) -> None:
        vqa_files(tmp_path)
        texts = corpus(tmp_path, VQA).texts
        name = "COCO_val2014_000000000042"
        # "Red" and "a red" are the same answer, of five people.
        assert texts == [
            ImageText(name, "What is red?", "vqa", {"red": 1.0, "blue": 0.3}),
            ImageText(name, "How many?", "vqa", {"2": 0.9}),
            ImageText("COCO_val2014_000000000007", "Is it?", "vqa", {"yes": 1.0}),
        ]

    def test_vqa_question_types_select_questions(self, tmp_path: Path) -> None:
        vqa_files(tmp_path)
        some = corpus(tmp_path, VQA | {"question_types": ["yes", "blue"]}).texts
        assert [text.sentence for text in some] == ["What is red?", "Is it?"]
        with pytest.raises(DataError, match="no question is of type green"):
            corpus(tmp_path, VQA | {"question_types": ["yes", "green"]})
        with pytest.raises(
            ValidationError, match="question_types can only be used with kind vqa and its annotations"
        ):
            SourceSection(kind="captions", file="c.json", question_types=("yes",))

    def test_vqa_image_name_pattern_without_annotations_gives_no_answers(self, tmp_path: Path) -> None:
        vqa_files(tmp_path)
        named = VQA | {"image_name": "scenes_{split}_{image_id:04d}", "name": "made", "annotations": None}
        texts = corpus(tmp_path, named).texts
        assert texts[2] == ImageText("scenes_val2014_0007", "Is it?", "made", {})

    def test_gqa_reads_balanced_questions_by_default(self, tmp_path: Path) -> None:
        def record(image: str, balanced: bool, answer: str | None) -> dict[str, Any]:
            known = {} if answer is None else {"answer": answer, "fullAnswer": "It is."}
            return {"imageId": image, "question": f"Q {image}?", "isBalanced": balanced, **known}

        write_file(tmp_path / "parts" / "x_2.json", {"03": record("n1", True, None)})
        write_file(
            tmp_path / "parts" / "x_1.json", {"01": record("5", True, "yes"), "02": record("6", False, "no")}
        )
        source = {"kind": "gqa", "file": "parts"}
        assert corpus(tmp_path, source).texts == [
            ImageText("5", "Q 5?", "gqa", {"yes": 1.0}),
            ImageText("n1", "Q n1?", "gqa", {}),
        ]
        assert len(corpus(tmp_path, source | {"balanced_only": False}).texts) == 3

    def test_captions_are_named_by_file_or_image_name_pattern(self, tmp_path: Path) -> None:
        images = [{"id": 3, "file_name": "train/COCO_train2014_3.jpg"}, {"id": 4}]
        captions = [{"image_id": 4, "caption": "four", "id": 1}, {"image_id": 3, "caption": "three", "id": 2}]
        write_file(tmp_path / "c.json", {"images": images, "annotations": captions})
        source = {"kind": "captions", "file": "c.json"}
        assert corpus(tmp_path, source).texts == [
            ImageText("4", "four", "mscoco"),
            ImageText("train/COCO_train2014_3.jpg", "three", "mscoco"),
        ]
        named = corpus(tmp_path, source | {"image_name": "i{image_id}"})
        assert [text.image for text in named.texts] == ["i4", "i3"]

    def visual_genome_sources(self, folder: Path) -> list[dict[str, Any]]:
        write_file(
            folder / "regions.json",
            [{"id": 10, "regions": [{"phrase": "a dog"}, {"phrase": "the tail"}]}, {"id": 11, "regions": []}],
        )
        write_file(folder / "qas.json", [{"id": 11, "qas": [{"question": "Who?", "answer": "A man."}]}])
        write_file(
            folder / "images.json",
            [{"image_id": 10, "coco_id": 42}, {"image_id": 11, "coco_id": None}],
        )
        return [
            {"kind": "visual_genome_regions", "file": "regions.json"},
            {"kind": "visual_genome_questions", "file": "qas.json"},
        ]

    def test_visual_genome_phrases_and_questions_become_texts(self, tmp_path: Path) -> None:
        assert corpus(tmp_path, *self.visual_genome_sources(tmp_path)).texts == [
            ImageText("10", "a dog", "vg"),
            ImageText("10", "the tail", "vg"),
            ImageText("11", "Who?", "visual7w", {"A man.": 1.0}),
        ]

    @pytest.mark.parametrize(
        ("stored", "expected"),
        [
            (None, "COCO_train2014_000000000042"),
            (["COCO_val2014_000000000042.jpg", "11", "10"], "COCO_val2014_000000000042"),
            (["10", "11"], "10"),
        ],
    )
    def test_visual_genome_images_use_coco_name_unless_store_has_their_own(
        self, tmp_path: Path, stored: list[str] | None, expected: str
    ) -> None:
        sources = [source | {"image_data": "images.json"} for source in self.visual_genome_sources(tmp_path)]
        store = None
        if stored is not None:
            images = {name: random_regions(n) for n, name in enumerate(stored)}
            store = FeatureStore(write_store(tmp_path / "store", images))
        gqa = {"5": {"imageId": "10", "question": "Is it?"}, "6": {"imageId": "11", "question": "Is it?"}}
        write_file(tmp_path / "gqa.json", gqa)
        sources.append({"kind": "gqa", "file": "gqa.json", "image_data": "images.json"})
        texts = corpus(tmp_path, *sources, store=store).texts
        assert [text.image for text in texts] == [expected, expected, "11", expected, "11"]

    def test_lxmert_file_keeps_sources_and_labels(self, tmp_path: Path) -> None:
        record = {
            "img_id": "COCO_val2014_000000000042",
            "sentf": {"mscoco": ["A dog."], "vqa": ["What?", "Who?"]},
            "labelf": {"vqa": [{"dog": 1.0, "cat": 0.3}, {}]},
        }
        write_file(tmp_path / "l.json", [record])
        texts = corpus(tmp_path, {"kind": "lxmert", "file": "l.json"}).texts
        assert [(text.source, text.sentence, text.answers) for text in texts] == [
            ("mscoco", "A dog.", None),
            ("vqa", "What?", {"dog": 1.0, "cat": 0.3}),
            ("vqa", "Who?", {}),
        ]

    def test_own_jsonl_lines_become_texts_and_pairs_are_rejected(self, tmp_path: Path) -> None:
        lines = [
            {"image": "pictures/a.jpg", "sentences": ["One.", "Two."]},
            {"image": "b", "sentence": "What?", "answer": "red"},
        ]
        path = tmp_path / "own.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        source = {"kind": "jsonl", "file": "own.jsonl"}
        assert corpus(tmp_path, source).texts == [
            ImageText("pictures/a.jpg", "One.", "own"),
            ImageText("pictures/a.jpg", "Two.", "own"),
            ImageText("b", "What?", "own", {"red": 1.0}),
        ]
        path.write_text(json.dumps({"image": ["a", "b"], "sentence": "Both?"}))
        with pytest.raises(DataError, match="is about 2 images"):
            corpus(tmp_path, source)
        lines = [{"image": "a", "sentence": f"It is {label}.", "label": label} for label in (True, False)]
        path.write_text("\n".join(map(json.dumps, lines)))
        with pytest.raises(DataError, match=r"'It is False\.' has the label false"):
            corpus(tmp_path, source)


def write_own_source(folder: Path, *images: str) -> dict[str, Any]:
    lines = [{"image": image, "sentence": f"See {image}.", "answer": "red"} for image in images]
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {"kind": "jsonl", "file": "own.jsonl"}


def store_of(folder: Path, *names: str) -> FeatureStore:
    images = {name: random_regions(n) for n, name in enumerate(names)}
    return FeatureStore(write_store(folder / "store", images))


class TestImageSelection:
    def test_image_without_regions_raises_data_error(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "a", "b", "c", "b")
        with pytest.raises(DataError, match=r"2 images .* starting with b; .*missing_images: skip"):
            corpus(tmp_path, source, store=store_of(tmp_path, "a.jpg"))

    def test_image_without_regions_is_skipped_and_counted_on_request(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "a", "b", "c", "b")
        read = corpus(tmp_path, source, store=store_of(tmp_path, "a.jpg"), missing_images="skip")
        assert [text.image for text in read.texts] == ["a"]
        report = read.report.sources["own"]
        assert (report.texts, report.images) == (1, 1)
        assert (report.without_regions, report.images_without_regions) == (3, 2)
        assert read.report.images_without_regions == 2
        assert "left out 3 about 2 images without regions" in read.report.lines()[0]

    def test_only_images_and_without_images_select_images(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "a", "b", "c", "b", "d")
        (tmp_path / "only.txt").write_text("b\nc\n\n a\n")
        (tmp_path / "without.txt").write_text("c\r\n")
        read = corpus(tmp_path, source, only_images="only.txt", without_images="without.txt")
        assert [text.image for text in read.texts] == ["a", "b", "b"]
        assert read.report.sources["own"].other_images == 2
        assert read.image_names == ["a", "b"]

    @pytest.mark.parametrize("listed", ["v/a.jpg", "a", "a.jpg", "all/v/a.png", "\ufeffa"])
    def test_listed_names_match_with_ending_folder_or_byte_order_mark(
        self, tmp_path: Path, listed: str
    ) -> None:
        source = write_own_source(tmp_path, "v/a.jpg", "t/b.jpg", "w/c")
        (tmp_path / "list.txt").write_text(f"{listed}\n", encoding="utf-8")
        assert corpus(tmp_path, source, without_images="list.txt").image_names == ["t/b.jpg", "w/c"]
        assert corpus(tmp_path, source, only_images="list.txt").image_names == ["v/a.jpg"]

    def test_listed_folder_must_match_folder_of_sentence_image(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "v/1.jpg", "t/1.jpg", "tt/1.jpg", "2")
        (tmp_path / "list.txt").write_text("t/1\nu/2\n")
        assert corpus(tmp_path, source, without_images="list.txt").image_names == ["v/1.jpg", "tt/1.jpg"]

    @pytest.mark.parametrize("stored", [None, ["10", "11"], ["COCO_val2014_000000000042.jpg", "11"]])
    @pytest.mark.parametrize("listed", ["COCO_val2014_000000000042", "10"])
    def test_image_shared_with_coco_is_selected_by_any_of_its_names(
        self, tmp_path: Path, stored: list[str] | None, listed: str
    ) -> None:
        regions = [{"id": number, "regions": [{"phrase": f"in {number}"}]} for number in (10, 11)]
        write_file(tmp_path / "regions.json", regions)
        coco_ids = [{"image_id": 10, "coco_id": 42}, {"image_id": 11, "coco_id": 43}]
        write_file(tmp_path / "images.json", coco_ids)
        (tmp_path / "list.txt").write_text(listed)
        source = {"kind": "visual_genome_regions", "file": "regions.json", "image_data": "images.json"}
        store = None if stored is None else store_of(tmp_path, *stored)
        others = corpus(tmp_path, source, store=store, without_images="list.txt")
        assert [text.sentence for text in others.texts] == ["in 11"]
        only = corpus(tmp_path, source, store=store, only_images="list.txt")
        assert [text.sentence for text in only.texts] == ["in 10"]

    def test_unmatched_listed_names_are_counted_and_fully_unmatched_list_is_rejected(
        self, tmp_path: Path
    ) -> None:
        source = write_own_source(tmp_path, "a.jpg", "v/b.jpg", "c")
        (tmp_path / "only.txt").write_text("a\nb\nx\nw/b\n")
        (tmp_path / "without.txt").write_text("a\nc\n")
        read = corpus(tmp_path, source, only_images="only.txt", without_images="without.txt")
        assert read.image_names == ["v/b.jpg"]
        assert read.report.to_dict()["names_of_no_image"] == {"only_images": 2}
        assert "only_images: 2 of the listed names match no image of the sentences" in read.report.lines()
        (tmp_path / "without.txt").write_text("x.jpg\nw/b\n")
        with pytest.raises(DataError, match=r"without\.txt: none of its 2 names, starting with 'x', .*with"):
            corpus(tmp_path, source, without_images="without.txt")

    def test_images_of_equal_file_name_are_distinguished_by_folder(self, tmp_path: Path) -> None:
        images = [{"id": n, "file_name": f"cam{n}/1.jpg"} for n in (1, 2)]
        captions = [{"id": n, "image_id": n, "caption": f"at {n}"} for n in (1, 2)]
        write_file(tmp_path / "c.json", {"images": images, "annotations": captions})
        sources = [{"kind": "captions", "file": "c.json"}, write_own_source(tmp_path, "cam2/1", "cam1/1.jpg")]
        both = store_of(tmp_path, "cam1/1.jpg", "cam2/1.jpg")
        assert corpus(tmp_path, sources[0], store=both).image_names == ["cam1/1.jpg", "cam2/1.jpg"]
        # "cam2/1" lacks its ending.
        assert corpus(tmp_path, *sources, store=both).image_names == ["cam1/1.jpg", "cam2/1.jpg"]

    def test_store_image_of_another_folder_does_not_match(self, tmp_path: Path) -> None:
        store = store_of(tmp_path, "cam1/1.jpg")
        source = write_own_source(tmp_path, "cam2/1.jpg", "1", "cam1/1")
        read = corpus(tmp_path, source, store=store, missing_images="skip")
        assert ([text.image for text in read.texts], read.report.images_without_regions) == (["1", "1"], 1)
        with pytest.raises(
            DataError, match=r"starting with cam2/1\.jpg \(cam1/1\.jpg in the store is from another"
        ):
            corpus(tmp_path, source, store=store)

    def test_store_image_matching_names_of_two_folders_is_rejected(self, tmp_path: Path) -> None:
        store = store_of(tmp_path, "1")
        for names in (("cam1/1.jpg", "cam2/1.jpg"), ("1", "cam2/1.png", "cam1/1")):
            with pytest.raises(DataError, match=r"has one image for both 'cam\d/1.*' and 'cam\d/1.*'; add"):
                corpus(tmp_path, write_own_source(tmp_path, *names), store=store, missing_images="skip")

    def test_spellings_of_one_store_image_become_one_name(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "a.jpg", "b", "a", "train/a.png", "all/train/a")
        read = corpus(tmp_path, source, store=store_of(tmp_path, "b.jpg", "a"))
        assert [text.image for text in read.texts] == ["a.jpg", "b", "a.jpg", "a.jpg", "a.jpg"]
        assert read.report.images == 2

    def test_missing_or_empty_image_list_is_rejected(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "a")
        with pytest.raises(DataError, match=r"no\.txt: the list of image names cannot be read"):
            corpus(tmp_path, source, only_images="no.txt")
        (tmp_path / "empty.txt").write_text("\n")
        with pytest.raises(DataError, match="contains no image name"):
            corpus(tmp_path, source, without_images="empty.txt")

    def test_empty_selection_is_rejected(self, tmp_path: Path) -> None:
        source = write_own_source(tmp_path, "a")
        (tmp_path / "without.txt").write_text("a")
        with pytest.raises(DataError, match="no sentence about a selected image"):
            corpus(tmp_path, source, without_images="without.txt")


def test_garbage_collector_is_paused_while_corpus_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc_enabled: list[bool] = []

    def is_included(names: object, lists: object) -> bool:
        gc_enabled.append(gc.isenabled())
        return True

    write_file(tmp_path / "own.jsonl", {"image": "a", "sentences": ["a dog", "a cat"]})
    monkeypatch.setattr("lxmert.data.corpus._is_included", is_included)
    assert len(corpus(tmp_path, {"kind": "jsonl", "file": "own.jsonl"}).texts) == 2
    # Of many sentences about an image, it is asked about once.
    assert gc_enabled == [False]
    assert gc.isenabled()


class TestReport:
    def test_report_counts_every_source(self, tmp_path: Path) -> None:
        vqa_files(tmp_path)
        captions = [{"image_id": 42, "caption": text, "id": n} for n, text in enumerate(["A.", " ", "B."])]
        write_file(tmp_path / "c.json", {"images": [{"id": 42}], "annotations": captions})
        source = {"kind": "captions", "file": "c.json", "image_name": "COCO_val2014_{image_id:012d}"}
        read = corpus(tmp_path, VQA, source).with_answers(AnswerVocabulary(["red", "1", "blue"]))
        assert read.report.to_dict() == {
            "sources": {
                "vqa": source_counts(texts=3, images=2, questions=3, unknown_answers=2),
                "mscoco": source_counts(texts=2, images=1, unknown_answers=0, empty=1),
            },
            "images": 2,
            "images_without_regions": 0,
            "names_of_no_image": {},
        }
        assert read.report.lines() == [
            "vqa: 3 sentences about 2 images, 3 of them questions, 2 without a known answer",
            "mscoco: 2 sentences about 1 images, left out 1 empty",
            "together: 5 sentences about 2 images",
        ]

    def test_unknown_answers_are_counted_once_vocabulary_is_given(self, tmp_path: Path) -> None:
        vqa_files(tmp_path)
        read = corpus(tmp_path, VQA)
        assert read.report.sources["vqa"].unknown_answers is None
        # The table's spelling counts: "red" as it stands, "2" for "two" was made by the metric's rule before.
        assert read.with_answers(AnswerVocabulary(["2", "yes"])).report.sources["vqa"].unknown_answers == 1

    def test_limit_images_counts_only_remaining_sentences(self, tmp_path: Path) -> None:
        vqa_files(tmp_path)
        read = corpus(tmp_path, VQA, write_own_source(tmp_path, "COCO_val2014_000000000042", "z"))
        cut = read.limit_images(1)
        assert [text.source for text in cut.texts] == ["vqa", "vqa", "own"]
        assert cut.report.to_dict() == {
            "sources": {
                "vqa": source_counts(texts=2, images=1, questions=2) | {"unknown_answers": None},
                "own": source_counts(texts=1, images=1, questions=1) | {"unknown_answers": None},
            },
            "images": 1,
            "images_without_regions": 0,
            "names_of_no_image": {},
        }
        assert read.limit_images(None) is read

    def test_with_answers_finds_normalised_spelling(self, tmp_path: Path) -> None:
        line = {"image": "a", "sentence": "Who?", "answer": "A man."}
        (tmp_path / "own.jsonl").write_text(json.dumps(line))
        read = corpus(tmp_path, {"kind": "jsonl", "file": "own.jsonl"})
        assert read.with_answers(AnswerVocabulary(["man"])).report.sources["own"].unknown_answers == 0


def test_best_answer_has_table_spelling_and_sums_equal_spellings() -> None:
    def best(answers: dict[str, float] | None) -> str | None:
        return ImageText("a", "Which?", "vg", answers).best_answer

    assert [best({"Green.": 1.0}), best({"green": 1.0}), best({}), best(None)] == [
        "green",
        "green",
        None,
        None,
    ]
    assert best({"green": 0.9, "yellow": 0.3}) == "green"
    # Spellings that meet add up: 0.6 against 0.5.
    assert best({"blue": 0.5, "a dog": 0.3, "Dog.": 0.3}) == "dog"


def source_counts(**changes: int) -> dict[str, int]:
    names = ("texts", "images", "questions", "unknown_answers", "empty", "other_images")
    return dict.fromkeys((*names, "without_regions", "images_without_regions"), 0) | changes


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"kind": "vqa", "file": "{split}.json"}, "file contains {split}, but split is not set"),
        ({"kind": "gqa", "file": "x", "annotations": "y"}, "annotations can only be used with kind vqa"),
        (
            {"kind": "vqa", "file": "x", "image_data": "y"},
            "image_data can only be used with the visual_genome kinds",
        ),
        ({"kind": "lxmert", "file": "x", "name": "y"}, "name their sources themselves"),
        ({"kind": "jsonl", "file": "x", "image_name": "y"}, "name their images themselves"),
        (
            {"kind": "gqa", "file": "{image_id}"},
            "file contains {image_id}, but only {split} can be used there",
        ),
        ({"kind": "gqa", "file": "x", "image_name": "{id}"}, "image_name contains {id}, but only"),
        (
            {"kind": "captions", "file": "c{split:d}.json", "split": "val"},
            "file is 'c{split:d}.json', which cannot be filled in: Unknown format code 'd'",
        ),
        ({"kind": "captions", "file": "{split:{id}}", "split": "val"}, "file is '{split:{id}}', which"),
        ({"kind": "captions", "file": "c{split.json", "split": "val"}, "file is 'c{split.json', which"),
        ({"kind": "vqa", "file": "x", "image_name": "{image_id:z}"}, "image_name is '{image_id:z}', which"),
        ({"kind": "gqa", "file": "x", "image_name": "{image_id:012d}"}, "image_name is '{image_id:012d}'"),
        (
            {"kind": "gqa", "file": "x", "image_data": "y", "coco_image_names": ["{image_id:z}"]},
            "coco_image_names is '{image_id:z}', which cannot be filled in",
        ),
        ({"kind": "coco", "file": "x"}, "kind"),
        ({"kind": "gqa", "file": "x", "splt": "train"}, "splt"),
    ],
)
def test_invalid_source_section_is_rejected(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as error:
        SourceSection(**values)
    assert fault in str(error.value)
