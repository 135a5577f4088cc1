"""Splits of fine-tuning tasks: joining, subsets, image files, and targets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lxmert.data.answers import AnswerVocabulary
from lxmert.data.feature_store import FeatureStore, FeatureStoreWriter, StoreManifest
from lxmert.data.file_layouts import GqaFiles, Nlvr2Files, TaskFiles, VqaFiles
from lxmert.data.gqa_split import GqaReader
from lxmert.data.labelled_split import LabelledReader
from lxmert.data.nlvr2_split import TRUTH_VALUES, Nlvr2Reader
from lxmert.data.region_source import open_regions
from lxmert.data.task_examples import IGNORED_LABEL, Purpose, Subset, TaskExample
from lxmert.data.task_split import SplitExamples, TaskSplit
from lxmert.data.vqa_split import VqaReader
from lxmert.errors import DataError, VocabularyError
from lxmert.vision.regions import Regions
from tests.data.file_writers import write_file, write_json_lines


def vqa_files(folder: Path, split: str, first_id: int, images: list[int]) -> None:
    """Two questions about each image, of type "what" and "how many"."""
    questions, annotations = [], []
    for number, image in enumerate(image for image in images for _ in range(2)):
        kind = ("what", "how many")[number % 2]
        identifier = {"question_id": first_id + number, "image_id": image}
        questions.append({**identifier, "question": f"{kind} {number}?"})
        answers = [{"answer_id": n + 1, "answer": ("red", "two")[number % 2]} for n in range(10)]
        annotations.append(
            {
                **identifier,
                "question_type": kind,
                "answer_type": "other",
                "multiple_choice_answer": ("red", "2")[number % 2],
                "answers": answers,
            }
        )
    write_file(folder / f"annotations/vqa_{split}_questions.json", {"questions": questions})
    write_file(folder / f"annotations/vqa_{split}_annotations.json", {"annotations": annotations})


def vqa_split(folder: Path, name: str, subset: Subset | None = None) -> SplitExamples:
    reader = VqaReader(folder, VqaFiles(instances=None))
    return TaskSplit(reader, name, subset or Subset()).read()


def identifiers_of(split: SplitExamples) -> list[Any]:
    return [example.identifier for example in split.examples]


@pytest.fixture
def vqa(tmp_path: Path) -> Path:
    vqa_files(tmp_path, "one", 0, [7, 3, 9])
    vqa_files(tmp_path, "two", 100, [5])
    return tmp_path


def test_examples_keep_file_order_and_coco_image_names(vqa: Path) -> None:
    split = vqa_split(vqa, "one")
    assert identifiers_of(split) == [0, 1, 2, 3, 4, 5]
    assert split.image_names() == [f"COCO_one_{number:012d}" for number in (7, 3, 9)]
    files = split.image_files(with_boxes=False)
    assert files["COCO_one_000000000003"].path == vqa / "images/one/COCO_one_000000000003.jpg"


def test_joined_splits_keep_own_image_folders_and_reject_duplicate_ids(vqa: Path) -> None:
    split = vqa_split(vqa, "two, one")
    assert identifiers_of(split) == [100, 101, 0, 1, 2, 3, 4, 5]
    assert split.image_names()[:2] == ["COCO_two_000000000005", "COCO_one_000000000007"]
    files = split.image_files(with_boxes=False)
    assert files["COCO_two_000000000005"].path.parent == vqa / "images/two"
    vqa_files(vqa, "three", 4, [6])
    with pytest.raises(
        DataError, match=r"one,three: 4 is in more than one of these splits; expected another id"
    ):
        vqa_split(vqa, "one,three")


def test_subset_selects_by_first_images_kinds_and_first_examples(vqa: Path) -> None:
    assert identifiers_of(vqa_split(vqa, "one", Subset(first_images=2))) == [0, 1, 2, 3]
    assert identifiers_of(vqa_split(vqa, "one", Subset(kinds=["how many"]))) == [1, 3, 5]
    assert identifiers_of(vqa_split(vqa, "one", Subset(2, ["what"], first_examples=1))) == [0]
    cut = vqa_split(vqa, "one", Subset(first_images=2))
    assert cut.image_names() == [f"COCO_one_{number:012d}" for number in (7, 3)]
    with pytest.raises(DataError, match=r"no one question is of type knot, why"):
        vqa_split(vqa, "one", Subset(kinds=["why", "what", "knot"]))


def examples(identifiers: list[int]) -> list[TaskExample]:
    return [TaskExample(number, "t", (f"i{number % 5}",), None, None) for number in identifiers]


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=60, unique=True),
    st.floats(0.01, 1.0),
    st.floats(0.01, 1.0),
)
def test_share_is_exact_nested_and_independent_of_file_order(
    identifiers: list[int], one: float, other: float
) -> None:
    small, large = sorted((one, other))
    chosen = [row.identifier for row in Subset(share=small).select(examples(identifiers), "x")]
    larger = [row.identifier for row in Subset(share=large).select(examples(identifiers), "x")]
    assert len(chosen) == max(1, round(small * len(identifiers)))
    assert set(chosen) <= set(larger)
    assert chosen == [number for number in identifiers if number in set(chosen)]
    reversed_order = [row.identifier for row in Subset(share=small).select(examples(identifiers[::-1]), "x")]
    assert reversed_order == chosen[::-1]


def test_share_samples_images_evenly() -> None:
    chosen = Subset(share=0.1).select(examples(list(range(20_000))), "x")
    per_image = [sum(row.images == (f"i{n}",) for row in chosen) for n in range(5)]
    # 400 each; the standard deviation is 18.
    assert all(300 < count < 500 for count in per_image)


def test_split_without_annotations_is_readable_only_for_prediction(vqa: Path) -> None:
    (vqa / "annotations/vqa_two_annotations.json").unlink()
    reader = VqaReader(vqa, VqaFiles(instances=None))
    split = TaskSplit(reader, "two", purpose=Purpose.PREDICTION).read()
    assert identifiers_of(split) == [100, 101]
    [target, _] = split.targets(AnswerVocabulary(["red"]))
    assert (target.label, target.scores) == (IGNORED_LABEL, {})
    with pytest.raises(DataError, match=r"vqa_two_annotations\.json"):
        vqa_split(vqa, "two")


GQA = {
    "07": {"question": "Is it red?", "imageId": "n1", "answer": "yes", "isBalanced": True,
           "types": {"structural": "verify", "semantic": "attr", "detailed": None}},
    "7": {"question": "What is it?", "imageId": "2", "answer": "two", "isBalanced": True,
          "types": {"structural": "query", "semantic": "cat", "detailed": None}},
    "3": {"question": "Who?", "imageId": "2"},
}  # fmt: skip


def test_gqa_targets_match_exact_answer_spelling(tmp_path: Path) -> None:
    write_file(tmp_path / "annotations/gqa_val_questions.json", GQA)
    split = TaskSplit(GqaReader(tmp_path, GqaFiles()), "val").read()
    assert identifiers_of(split) == ["07", "7", "3"]
    assert [example.kind for example in split.examples] == ["verify", "query", None]
    targets = split.targets(AnswerVocabulary(["Yes", "yes", "2"]))
    assert [(target.label, dict(target.scores)) for target in targets] == [
        (1, {1: 1.0}),
        (IGNORED_LABEL, {}),
        (IGNORED_LABEL, {}),
    ]
    reader = split.split.reader
    assert list(reader.vocabulary(split.examples, 1)) == ["two", "yes"]
    with pytest.raises(VocabularyError, match="no answer is the best answer to 2 or more"):
        reader.vocabulary(split.examples, 2)


def test_image_files_are_found_by_their_actual_ending(tmp_path: Path) -> None:
    write_file(tmp_path / "annotations/gqa_val_questions.json", GQA)
    write_file(tmp_path / "images/val/n1.png", "")
    files = TaskSplit(GqaReader(tmp_path, GqaFiles()), "val").read().image_files(with_boxes=False)
    assert files["n1"].path.name == "n1.png"
    # What is not there keeps its name, which the error about it then tells.
    assert files["2"].path == tmp_path / "images/val/2"
    named = GqaFiles(images="all", image_name="{image_id}.webp")
    files = TaskSplit(GqaReader(tmp_path, named), "val").read().image_files(with_boxes=False)
    assert files["n1"].path == tmp_path / "all/n1.webp"


NLVR2 = [
    {"identifier": "train-1-0-2", "sentence": "Two.", "label": "True", "directory": 14,
     "left_url": "http://x/a.jpg", "right_url": "http://x/b.jpg"},
    {"identifier": "train-1-1-2", "sentence": "Two.", "label": "False",
     "left_url": "images/train/c.png", "right_url": "images/train/d.png"},
    {"identifier": "train-2-0-0", "sentence": "One."},
]  # fmt: skip


def test_nlvr2_split_has_image_pairs_and_truth_values(tmp_path: Path) -> None:
    write_file(tmp_path / "annotations/nlvr2_train.json", "\n".join(map(json.dumps, NLVR2)))
    reader = Nlvr2Reader(tmp_path, Nlvr2Files(images="images/{split}/{directory}", image_name="{image}.png"))
    split = TaskSplit(reader, "train").read()
    assert [example.images for example in split.examples] == [
        ("train-1-0-img0", "train-1-0-img1"),
        ("c", "d"),
        ("train-2-0-img0", "train-2-0-img1"),
    ]
    assert [target.label for target in split.targets(AnswerVocabulary(TRUTH_VALUES))] == [1, 0, IGNORED_LABEL]
    paths = {
        name: str(file.path.relative_to(tmp_path))
        for name, file in split.image_files(with_boxes=False).items()
    }
    assert paths == {
        "train-1-0-img0": "images/train/14/train-1-0-img0.png",
        "train-1-0-img1": "images/train/14/train-1-0-img1.png",
        "c": "images/train/c.png",
        "d": "images/train/d.png",
        "train-2-0-img0": "images/train/train-2-0-img0.png",
        "train-2-0-img1": "images/train/train-2-0-img1.png",
    }
    assert list(reader.vocabulary([], 9)) == ["False", "True"]


def test_equal_image_names_in_several_folders_are_rejected(tmp_path: Path) -> None:
    pairs = [
        {"identifier": f"dev-{n}-0-0", "sentence": "Two.", "left_url": f"images/p{n}/left.png",
         "right_url": f"images/p{n}/right{n}.png"}
        for n in range(3)
    ]  # fmt: skip
    write_file(tmp_path / "annotations/nlvr2_dev.json", "\n".join(map(json.dumps, pairs)))
    message = (
        r"nlvr2_dev\.json: images/p0/left.png and images/p1/left.png are both called 'left'.*; rename one"
    )
    with pytest.raises(DataError, match=message):
        TaskSplit(Nlvr2Reader(tmp_path, Nlvr2Files()), "dev").read()
    for number, pair in enumerate(pairs):  # The same picture again, written in two ways.
        pair["left_url"] = ("images/p0/left.png", "./images/p0/left.png")[number % 2]
    write_file(tmp_path / "annotations/nlvr2_dev.json", "\n".join(map(json.dumps, pairs)))
    split = TaskSplit(Nlvr2Reader(tmp_path, Nlvr2Files()), "dev").read()
    assert split.image_names() == ["left", "right0", "right1", "right2"]


def instances(folder: Path, split: str, *names: str) -> None:
    images = [{"id": n, "file_name": name, "height": 20, "width": 30} for n, name in enumerate(names)]
    content = {"images": images, "annotations": [], "categories": []}
    write_file(folder / f"annotations/instances_{split}.json", content)


def test_instances_file_with_duplicate_image_names_is_rejected_where_used(tmp_path: Path) -> None:
    instances(tmp_path, "one", "cam0/1.jpg", "cam1/1.jpg", "cam1/2.jpg", "cam2/2.jpg")
    vqa_files(tmp_path, "one", 0, [1, 3])
    split = TaskSplit(VqaReader(tmp_path, VqaFiles()), "one").read()
    paths = {name: str(file.path) for name, file in split.image_files(with_boxes=False).items()}
    assert paths == {
        "1": f"{tmp_path}/images/one/cam1/1.jpg",
        "2": f"{tmp_path}/images/one/cam2/2.jpg",
    }
    message = r"instances_one\.json: cam0/1.jpg and cam1/1.jpg are both called '1'"
    with pytest.raises(DataError, match=message):
        split.image_files(with_boxes=True)
    vqa_files(tmp_path, "one", 0, [3, 1, 2])
    with pytest.raises(DataError, match=r"cam2/2.jpg and cam1/2.jpg are both called '2'"):
        TaskSplit(VqaReader(tmp_path, VqaFiles()), "one").read()


def test_only_extensions_of_images_are_left_out_of_names(tmp_path: Path) -> None:
    vqa_files(tmp_path, "one", 0, [1, 2])
    bare = VqaFiles(instances=None, image_name="frame.{image_id}")
    assert TaskSplit(VqaReader(tmp_path, bare), "one").read().image_names() == ["frame.1", "frame.2"]
    instances(tmp_path, "one", "x.0.jpg", "x.1", "x.2.PNG")
    split = TaskSplit(VqaReader(tmp_path, VqaFiles()), "one").read()
    assert split.image_names() == ["x.1", "x.2"]
    assert list(split.image_files(with_boxes=True)) == ["x.1", "x.2"]
    pair = {"identifier": "dev-1-0-0", "sentence": "Two.", "left_url": "p/x.1", "right_url": "p/x.2.png"}
    write_file(tmp_path / "annotations/nlvr2_dev.json", pair)
    assert TaskSplit(Nlvr2Reader(tmp_path, Nlvr2Files()), "dev").read().image_names() == ["x.1", "x.2"]


def test_image_name_pattern_that_differs_in_folders_only_is_rejected(tmp_path: Path) -> None:
    vqa_files(tmp_path, "one", 0, [1, 2])
    layout = VqaFiles(instances=None, image_name="{image_id}/left.png")
    message = r"vqa_one_questions\.json: 1/left\.png and 2/left\.png are both called 'left'"
    with pytest.raises(DataError, match=message):
        TaskSplit(VqaReader(tmp_path, layout), "one").read()


def test_joined_splits_may_share_image_but_not_name_of_different_images(tmp_path: Path) -> None:
    for number, split in enumerate(("one", "two")):
        questions = {f"{number}{n}": {"question": "Who?", "imageId": n} for n in ("n1", f"n{split}")}
        write_file(tmp_path / f"annotations/gqa_{split}_questions.json", questions)
        write_file(tmp_path / f"images/{split}/n1.png", "a picture")
    reader = GqaReader(tmp_path, GqaFiles())
    assert TaskSplit(reader, "one,two").read().image_names() == ["n1", "none", "ntwo"]
    write_file(tmp_path / "images/two/n1.png", "a pictura")
    with pytest.raises(DataError, match=r"images/one/n1.png and .*images/two/n1.png are both called 'n1'"):
        TaskSplit(reader, "one,two").read()
    assert TaskSplit(reader, "two").read().image_names() == ["n1", "ntwo"]


def test_first_images_keeps_only_examples_with_all_images_included(tmp_path: Path) -> None:
    write_file(tmp_path / "annotations/nlvr2_train.json", "\n".join(map(json.dumps, NLVR2)))
    reader = Nlvr2Reader(tmp_path, Nlvr2Files())
    assert identifiers_of(TaskSplit(reader, "train", Subset(first_images=3)).read()) == ["train-1-0-2"]
    assert identifiers_of(TaskSplit(reader, "train", Subset(first_images=4)).read()) == [
        "train-1-0-2",
        "train-1-1-2",
    ]


def test_lxmert_format_files_give_vqa_and_nlvr2_examples(tmp_path: Path) -> None:
    write_file(
        tmp_path / "vqa/minival.json",
        [
            {"question_id": 1, "img_id": "COCO_val2014_000000000042", "sent": "What?", "question_type": "a",
             "answer_type": "other", "label": {"net": 0.6, "nets": 1, "unheard of": 1}},
            {"question_id": 2, "img_id": "COCO_val2014_000000000073", "sent": "How?", "label": {"odd": 0.3}},
            {"question_id": 3, "img_id": "COCO_val2014_000000000073", "sent": "Why?"},
        ],
    )  # fmt: skip
    layout = VqaFiles(format="lxmert", questions="vqa/{split}.json", images="pictures")
    reader = LabelledReader(tmp_path, layout)
    split = TaskSplit(reader, "minival").read()
    assert split.image_names() == ["COCO_val2014_000000000042", "COCO_val2014_000000000073"]
    assert (
        split.image_files(with_boxes=False)["COCO_val2014_000000000042"].path.parent == tmp_path / "pictures"
    )
    targets = split.targets(AnswerVocabulary(["net", "nets", "yes"]))
    assert [(target.label, dict(target.scores)) for target in targets] == [
        (1, {0: 0.6, 1: 1.0}),
        (IGNORED_LABEL, {}),
        (IGNORED_LABEL, {}),
    ]
    assert list(reader.vocabulary(split.examples, 1)) == ["nets", "odd"]
    write_file(
        tmp_path / "nlvr2/valid.json",
        [{"identifier": "dev-8-0-1", "img0": "dev-8-0-img0", "img1": "dev-8-0-img1", "label": 1,
          "sent": "Two", "uid": "nlvr2_dev_0"}],
    )  # fmt: skip
    pairs = Nlvr2Reader(tmp_path, Nlvr2Files(format="lxmert", sentences="nlvr2/{split}.json"))
    [example] = TaskSplit(pairs, "valid").read().examples
    assert example.images == ("dev-8-0-img0", "dev-8-0-img1")
    assert pairs.target(example, AnswerVocabulary(TRUTH_VALUES)).label == 1


def test_image_files_with_boxes_require_image_in_instances_file(vqa: Path) -> None:
    with pytest.raises(DataError, match="boxes come from an instances file, but the layout"):
        vqa_split(vqa, "one").image_files(with_boxes=True)
    box = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0]}
    write_file(
        vqa / "annotations/instances_val.json",
        {"images": [{"id": 7, "file_name": "n1.png", "height": 20, "width": 30}], "annotations": [box],
         "categories": [{"id": 1, "name": "thing"}]},
    )  # fmt: skip
    write_file(vqa / "annotations/gqa_val_questions.json", {"07": GQA["07"]})
    files = TaskSplit(GqaReader(vqa, GqaFiles()), "val").read().image_files(with_boxes=True)
    assert files["n1"].boxes_xyxy_px is not None
    assert files["n1"].boxes_xyxy_px.tolist() == [[1.0, 2.0, 4.0, 6.0]]
    write_file(vqa / "annotations/gqa_val_questions.json", GQA)
    with pytest.raises(DataError, match=r"1 of the 2 val images are not in the instances file.* 2"):
        TaskSplit(GqaReader(vqa, GqaFiles()), "val").read().image_files(with_boxes=True)


def boxes_split(folder: Path) -> SplitExamples:
    """Questions about pictures of 40 × 30 pixels with 1, 0 and 2 given boxes, of categories 5; 8, 5."""
    boxes = {1: [[0, 0, 10, 15]], 2: [], 3: [[5, 6, 35, 30], [1.3, 2.7, 3.1, 4.9]]}
    images = [{"id": n, "file_name": f"{n}.png", "height": 30, "width": 40} for n in boxes]
    objects = [
        {"id": 10 * n + k, "image_id": n, "category_id": (5, 8)[k == 0 and n == 3], "bbox": box}
        for n, of_image in boxes.items()
        for k, box in enumerate(of_image)
    ]
    categories = [{"id": n, "name": f"thing {n}"} for n in (5, 8)]
    content = {"images": images, "annotations": objects, "categories": categories}
    write_file(folder / "annotations/instances_one.json", content)
    vqa_files(folder, "one", 0, [1, 2, 3])
    return TaskSplit(VqaReader(folder, VqaFiles()), "one").read()


def boxes_store(folder: Path, boxes: dict[str, list[list[float]]], *, labels: bool = False) -> FeatureStore:
    with FeatureStoreWriter(folder / "store", StoreManifest(3, "float32", "boxes/3")) as writer:
        for name, of_image in boxes.items():
            tensor = torch.tensor(of_image).reshape(-1, 4)
            ids = torch.arange(len(tensor)) if labels else None
            writer.add(name, Regions(tensor, torch.zeros(len(tensor), 3), (30, 40), "boxes/3", ids))
    return FeatureStore(folder / "store")


STORED_BOXES: dict[str, list[list[float]]] = {
    "3.png": [[5, 6, 40, 30], [1.3, 2.7, 4.4, 7.6]],
    "another": [[0, 0, 1, 1]],
    "1.png": [[0, 0, 10, 15]],
    "2.png": [],
}


@pytest.mark.parametrize("memory", [0, 2**20])
def test_object_labels_from_instances_follow_rows_of_the_source(tmp_path: Path, memory: int) -> None:
    split = boxes_split(tmp_path)
    store = boxes_store(tmp_path, STORED_BOXES)
    regions = open_regions(store, split.image_names(), in_memory_bytes=memory)
    labels = split.object_labels(regions)
    rows = torch.tensor([regions.rows[name] for name in ("3", "1", "2")])
    # Categories 5 and 8 are classes 0 and 1.
    assert labels.batch(rows, 2)["obj"][0].tolist() == [[1, 0], [0, -100], [-100, -100]]


@pytest.mark.parametrize("memory", [0, 2**20])
@pytest.mark.parametrize(
    "changed",
    [
        {"2.png": [[0.0, 0.0, 1.0, 1.0]]},
        {"1.png": []},
        {"1.png": [[0.0, 0.0, 10.0, 15.1]]},
        {"3.png": STORED_BOXES["3.png"][::-1]},
    ],
)
def test_object_labels_of_other_boxes_are_rejected(
    tmp_path: Path, changed: dict[str, list[list[float]]], memory: int
) -> None:
    split = boxes_split(tmp_path)
    store = boxes_store(tmp_path, STORED_BOXES | changed)
    regions = open_regions(store, split.image_names(), in_memory_bytes=memory)
    with pytest.raises(DataError, match=rf"belong to other boxes, such as the \d of {next(iter(changed))};"):
        split.object_labels(regions)


def test_layouts_reject_placeholders_of_other_tasks() -> None:
    with pytest.raises(ValueError, match=r"image_name contains \{image_id\}"):
        Nlvr2Files(image_name="{image_id}.png")
    with pytest.raises(ValueError, match=r"images contains \{directory\}"):
        GqaFiles(images="{directory}")


OWN_LINES = [
    {"image": "day 1/a.png", "sentence": "Quelle couleur ?", "answer": "été", "id": "q/1"},
    {
        "image": "day 2/a.png",
        "sentences": ["何色?", "Nobody knows?"],
        "answers": ["Red", "red", "red", "red"],
    },
    {"image": "b", "sentence": "Warum?", "answers": {}, "id": 7},
]


def own_reader(folder: Path, split: str = "val", lines: list[dict[str, Any]] = OWN_LINES) -> LabelledReader:
    write_json_lines(folder / f"own_{split}.jsonl", *lines)
    return LabelledReader(folder, VqaFiles(questions="own_{split}.jsonl", images="photos"))


def test_own_lines_become_questions_with_ids_and_image_paths(tmp_path: Path) -> None:
    reader = own_reader(tmp_path)
    split = TaskSplit(reader, "val").read()
    assert identifiers_of(split) == ["q/1", "own_val-2", "own_val-3", 7]
    assert [example.text for example in split.examples][1:3] == ["何色?", "Nobody knows?"]
    assert split.image_names() == ["day 1/a.png", "day 2/a.png", "b"]
    write_file(tmp_path / "photos/b.png", "a picture")
    files = split.image_files(with_boxes=False)
    assert files["day 2/a.png"].path == tmp_path / "photos/day 2/a.png"
    assert files["b"].path == tmp_path / "photos/b.png"
    (tmp_path / "photos/b.png").rename(tmp_path / "photos/b.JPG")
    assert split.image_files(with_boxes=False)["b"].path == tmp_path / "photos/b.JPG"
    # As they are spelled; one of four counts as two or three of ten.
    targets = split.targets(AnswerVocabulary(["red", "Red", "été"]))
    assert [(target.label, dict(target.scores)) for target in targets] == [
        (2, {2: 1.0}),
        (0, {0: 1.0, 1: 0.6}),
        (0, {0: 1.0, 1: 0.6}),
        (IGNORED_LABEL, {}),
    ]
    assert list(reader.vocabulary(split.examples, 1)) == ["red", "été"]


def test_own_lines_without_answers_are_accepted_only_for_prediction(tmp_path: Path) -> None:
    lines = [
        *OWN_LINES,
        {"image": "b", "sentence": "Who?"},
        {"image": "b", "sentence": "Where?", "answer": ""},
    ]
    reader = own_reader(tmp_path, lines=lines)
    for purpose in (Purpose.TRAINING, Purpose.SCORING):
        with pytest.raises(DataError, match=r"own_val\.jsonl: line 4 has neither answer nor answers"):
            TaskSplit(reader, "val", purpose=purpose).read()
    assert identifiers_of(TaskSplit(reader, "val", purpose=Purpose.PREDICTION).read())[-2:] == [
        "own_val-5", "own_val-6",
    ]  # fmt: skip


def test_own_lines_without_ids_get_distinct_ids_per_split(tmp_path: Path) -> None:
    own_reader(tmp_path, "more", [OWN_LINES[1]])
    reader = own_reader(tmp_path)
    assert identifiers_of(TaskSplit(reader, "val,more").read())[-2:] == ["own_more-1", "own_more-2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({**OWN_LINES[0], "id": 7}, r"line 4\.id 7 occurs twice; each question needs its own"),
        ({**OWN_LINES[1], "id": "x"}, r"line 4\.id 'x' occurs twice"),
        ({**OWN_LINES[0], "id": "x", "image": ["a", "b"]}, r"line 4\.image names two images"),
        ({**OWN_LINES[0], "id": "x", "answer": " "}, r"line 4 has an empty answer; fill it in"),
        ({**OWN_LINES[1], "answers": ["red", ""]}, r"line 4 has an empty answer"),
        ({**OWN_LINES[0], "id": "x", "anwser": "red"}, r"line 4\.anwser is not a known field"),
    ],
)
def test_invalid_own_line_error_names_line(tmp_path: Path, line: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=r"own_val\.jsonl: " + message):
        TaskSplit(own_reader(tmp_path, lines=[*OWN_LINES, line]), "val").read()


def test_gqa_layout_rejects_jsonl_questions() -> None:
    with pytest.raises(
        ValueError, match=r"own_\{split\}\.jsonl: your own questions \(\.jsonl\) belong to .* vqa"
    ):
        GqaFiles(questions="own_{split}.jsonl")


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (VqaFiles, {"questions": "{split!z}.json"}),
        (VqaFiles, {"questions": "own_{split.json"}),
        (VqaFiles, {"images": "{split:d}"}),
        (VqaFiles, {"image_name": "{image_id:zz}.jpg"}),
        (GqaFiles, {"image_name": "{image_id:06d}.jpg"}),  # GQA's ids are texts.
        (Nlvr2Files, {"image_name": "{image:d}"}),
    ],
)
def test_invalid_format_placeholders_are_rejected(layout: type[TaskFiles], name: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(name))} is '.*', which cannot be filled in"):
        layout.model_validate(name)


@pytest.mark.parametrize("name", ["one,one", " one , one", ",one", "one,", "", " "])
def test_empty_or_duplicate_split_names_are_rejected(vqa: Path, name: str) -> None:
    with pytest.raises(
        DataError, match="expected the name of a split, or several different names joined by commas"
    ):
        vqa_split(vqa, name)


def test_progress_is_reported_for_large_files_only(vqa: Path) -> None:
    bars: list[tuple[str, int]] = []

    def start(name: str, total: int) -> Callable[[int], None]:
        bars.append((name, total))
        return lambda done: None

    images = [{"id": number, "file_name": f"{number}.png", "height": 2, "width": 3} for number in (7, 3, 9)]
    write_file(
        vqa / "annotations/instances_one.json",
        {"images": images, "annotations": [], "categories": []},
    )
    # The questions of VQA's training split take 46 MB, COCO's instances 450.
    for kind in ("vqa_one_annotations", "instances_one"):
        with (vqa / f"annotations/{kind}.json").open("a", encoding="utf-8") as file:
            file.writelines(" " * 1_000_000 for _ in range(20))
    assert len(TaskSplit(VqaReader(vqa, VqaFiles()), "one").read(start)) == 6
    assert bars == [("Reading vqa_one_annotations.json (MB)", 21), ("Reading instances_one.json (MB)", 21)]


@pytest.mark.parametrize("purpose", Purpose)
def test_choices_are_read_once_with_progress_only_for_scoring(tmp_path: Path, purpose: Purpose) -> None:
    write_file(tmp_path / "annotations/gqa_val_questions.json", GQA)
    choices = {key: {"valid": ["yes", "no"], "plausible": ["no"]} for key in GQA}
    write_file(tmp_path / "annotations/gqa_val_choices.json", choices)
    for kind in ("questions", "choices"):
        with (tmp_path / f"annotations/gqa_val_{kind}.json").open("a", encoding="utf-8") as file:
            file.writelines(" " * 1_000_000 for _ in range(20))
    bars: list[str] = []

    def start(name: str, total: int) -> Callable[[int], None]:
        bars.append(name)
        return lambda done: None

    reader = GqaReader(tmp_path, GqaFiles())
    TaskSplit(reader, "val", purpose=purpose).read(start)
    kinds = ["questions", "choices"] if purpose is Purpose.SCORING else ["questions"]
    assert bars == [f"Reading gqa_val_{kind}.json (MB)" for kind in kinds]
    assert reader.choices("val") is reader.choices("val")
