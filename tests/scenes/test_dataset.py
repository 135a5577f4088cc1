"""A generated dataset on disk: official formats, disjoint splits, same bytes for a seed, never partial."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

from lxmert.data.coco import read_instances
from lxmert.data.vqa import read_vqa
from lxmert.errors import DataError, InputError
from lxmert.scenes import (
    SceneCounts,
    dataset,
    execute,
    generate_questions,
    generation,
    make_scene,
    make_scenes,
    sample,
)
from lxmert.scenes.captions import generate_captions
from lxmert.scenes.programs import program_from_json
from lxmert.scenes.randomness import random_stream
from lxmert.scenes.shapes import area
from lxmert.worker_processes import WorkerPool
from tests.scenes.conftest import SPLITS
from tests.scenes.english import Answerer


def file_digests(folder: Path) -> dict[str, str]:
    """Relative path to digest of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_dataset_contains_exactly_the_expected_files(dataset_on_disk):
    names = file_digests(dataset_on_disk.folder).keys()
    annotations = {
        f"annotations/{kind}_{split}.json"
        for kind in ("instances", "captions", "descriptions")
        for split in SPLITS
    }
    annotations |= {
        f"annotations/vqa_{split}_{kind}.json" for kind in ("questions", "annotations") for split in SPLITS
    }
    annotations |= {
        f"annotations/gqa_{split}_{kind}.json"
        for kind in ("questions", "choices", "scene_graphs")
        for split in SPLITS
    }
    annotations |= {f"annotations/nlvr2_{split}.json" for split in SPLITS}
    annotations |= {
        f"annotations/vg_{split}_{kind}.json"
        for kind in ("image_data", "region_descriptions", "question_answers")
        for split in SPLITS
    }
    pictures = {name for name in names if name.endswith(".png")}
    assert set(names) == {"scenes.json"} | annotations | pictures
    assert len(pictures) == 60


def test_instances_are_in_coco_format(dataset_on_disk):
    ids = []
    for split in SPLITS:
        data = dataset_on_disk.read(f"instances_{split}")
        names = {category["id"]: category["name"] for category in data["categories"]}
        assert sorted(names.values()) == ["circle", "cross", "heart", "square", "star", "triangle"]
        images = {image["id"]: image for image in data["images"]}
        for image in images.values():
            assert image["file_name"] == f"scenes_{split}_{image['id']:012d}.png"
            with Image.open(dataset_on_disk.folder / "images" / split / image["file_name"]) as picture:
                assert picture.format == "PNG"
                assert picture.mode == "RGB"
                assert picture.size == (image["width"], image["height"])
        for one in data["annotations"]:
            x, y, width, height = one["bbox"]
            image = images[one["image_id"]]
            assert x >= 0 <= y
            assert x + width <= image["width"]
            assert y + height <= image["height"]
            thing = make_scene(random_stream(3, image["id"] - 1, "scene")).objects[one["id"] % 100]
            assert one["area"] == pytest.approx(
                area(thing.shape, thing.turn_deg, thing.diameter_px), abs=0.06
            )
            assert 0 < one["area"] <= width * height
            assert one["iscrowd"] == 0
            assert one["category_id"] in names
            assert one["attributes"].keys() == {"color", "size", "fill"}
        ids += [one["id"] for one in data["annotations"]]
    assert len(set(ids)) == len(ids)


def test_captions_are_in_coco_format_with_five_for_each_image(dataset_on_disk):
    ids = []
    for split in SPLITS:
        data = dataset_on_disk.read(f"captions_{split}")
        assert data["images"] == dataset_on_disk.read(f"instances_{split}")["images"]
        times = Counter(one["image_id"] for one in data["annotations"])
        assert times == dict.fromkeys((image["id"] for image in data["images"]), 5)
        assert all(isinstance(one["caption"], str) for one in data["annotations"])
        ids += [one["id"] for one in data["annotations"]]
    assert len(set(ids)) == len(ids) == 300


def test_questions_and_annotations_are_in_vqa_v2_format(dataset_on_disk):
    for split in SPLITS:
        questions = dataset_on_disk.read(f"vqa_{split}_questions")
        annotations = dataset_on_disk.read(f"vqa_{split}_annotations")
        for data in (questions, annotations):
            assert data["data_type"] == "scenes"
            assert data["data_subtype"] == split
            assert {"info", "license"} <= data.keys()
        assert questions["task_type"] == "Open-Ended"
        pairs = zip(questions["questions"], annotations["annotations"], strict=True)
        for question, annotation in pairs:
            assert question.keys() == {"image_id", "question", "question_id"}
            assert question["question_id"] == annotation["question_id"]
            assert question["image_id"] == annotation["image_id"] == question["question_id"] // 1000
            assert annotation["answer_type"] in ("yes/no", "number", "other")
            assert [answer["answer_id"] for answer in annotation["answers"]] == list(range(1, 11))
            assert all(a["answer_confidence"] in ("yes", "maybe", "no") for a in annotation["answers"])
        times = Counter(question["image_id"] for question in questions["questions"])
        assert times == dict.fromkeys(
            (i["id"] for i in dataset_on_disk.read(f"instances_{split}")["images"]), 20
        )


def test_stored_answers_follow_from_words_boxes_and_programs(dataset_on_disk):
    for split in SPLITS:
        instances = dataset_on_disk.read(f"instances_{split}")
        shapes = {category["id"]: category["name"] for category in instances["categories"]}
        answerers = {
            image["id"]: Answerer(
                image, [one for one in instances["annotations"] if one["image_id"] == image["id"]], shapes
            )
            for image in instances["images"]
        }
        scenes = {number: make_scene(random_stream(3, number - 1, "scene")) for number in answerers}
        annotations = dataset_on_disk.read(f"vqa_{split}_annotations")["annotations"]
        for question, annotation in zip(
            dataset_on_disk.read(f"vqa_{split}_questions")["questions"], annotations, strict=True
        ):
            truth = annotation["multiple_choice_answer"]
            assert answerers[question["image_id"]].answer(question["question"]) == truth
            program = program_from_json(annotation["program"])
            assert execute(program, scenes[question["image_id"]]) == truth


def test_annotators_sometimes_disagree_but_the_truth_scores_one(dataset_on_disk):
    agreeing = Counter()
    for annotation in dataset_on_disk.read("vqa_train_annotations")["annotations"]:
        answers = [answer["answer"] for answer in annotation["answers"]]
        agreeing[answers.count(annotation["multiple_choice_answer"])] += 1
        assert not any(answer.startswith("-") for answer in answers)
    assert set(agreeing) == {7, 8, 9, 10}
    assert 0.06 < 1 - agreeing[10] / agreeing.total() < 0.14


def test_splits_share_no_image_and_are_80_10_10(dataset_on_disk):
    ids = [
        {image["id"] for image in dataset_on_disk.read(f"instances_{split}")["images"]} for split in SPLITS
    ]
    assert [len(split) for split in ids] == [48, 6, 6]
    assert len(set.union(*ids)) == 60
    pictures = [
        digest for name, digest in file_digests(dataset_on_disk.folder).items() if name.endswith(".png")
    ]
    assert len(set(pictures)) == 60


def test_coco_and_vqa_readers_read_generated_files(dataset_on_disk):
    folder = dataset_on_disk.folder / "annotations"
    images = read_instances(folder / "instances_val.json")
    examples = read_vqa(folder / "vqa_val_questions.json", folder / "vqa_val_annotations.json")
    assert len(images) == 6
    assert len(examples) == 120
    assert set(examples.image_ids) == set(images)
    assert all(len(example.answers) == 10 for example in examples)


def test_stored_counts_equal_counts_in_files(dataset_on_disk):
    assert dataset_on_disk.counts.images == 60
    assert dataset_on_disk.counts.questions == 1200
    stored = json.loads((dataset_on_disk.folder / "scenes.json").read_text())
    assert stored["format"] == "lxmert-scenes"
    assert (stored["seed"], stored["images"], stored["questions_per_image"]) == (3, 60, 20)
    families = Counter()
    right = 0
    for split in SPLITS:
        split_counts = stored["splits"][split]
        assert split_counts["images"] == len(dataset_on_disk.read(f"instances_{split}")["images"])
        assert split_counts["objects"] == len(dataset_on_disk.read(f"instances_{split}")["annotations"])
        assert split_counts["captions"] == len(dataset_on_disk.read(f"captions_{split}")["annotations"])
        annotations = dataset_on_disk.read(f"vqa_{split}_annotations")["annotations"]
        assert split_counts["questions"] == len(annotations)
        gqa = dataset_on_disk.read(f"gqa_{split}_questions").values()
        assert split_counts["gqa_questions"] == len(gqa)
        assert split_counts["gqa_balanced"] == sum(record["isBalanced"] for record in gqa)
        labels = [json.loads(line)["label"] for line in dataset_on_disk.path(f"nlvr2_{split}").open()]
        assert split_counts["nlvr2_examples"] == len(labels)
        assert labels.count("True") == labels.count("False")
        regions = dataset_on_disk.read(f"vg_{split}_region_descriptions")
        assert split_counts["vg_regions"] == sum(len(image["regions"]) for image in regions)
        asked = dataset_on_disk.read(f"vg_{split}_question_answers")
        assert split_counts["vg_questions"] == sum(len(image["qas"]) for image in asked)
        families.update((a["question_type"], a["multiple_choice_answer"]) for a in annotations)
    assert {(f, a): n for f, answers in stored["families"].items() for a, n in answers.items()} == families
    for family in stored["families"]:
        right += max(n for (name, _), n in families.items() if name == family)
    assert dataset_on_disk.counts.blind_accuracy == pytest.approx(right / 1200)
    assert dataset_on_disk.counts.blind_accuracy < 0.45
    assert stored["gqa_blind_accuracy"] == round(dataset_on_disk.counts.gqa_blind_accuracy, 4)
    assert 0.35 < stored["gqa_blind_accuracy"] < 0.55
    assert stored["nlvr2_blind_accuracy"]["sentence"] == 0.5
    for side in ("left", "right"):
        labels = defaultdict(Counter)
        for split in SPLITS:
            for line in dataset_on_disk.path(f"nlvr2_{split}").open():
                example = json.loads(line)
                set_ = example["identifier"].rsplit("-", 2)[0]
                labels[set_, example[f"{side}_url"]][example["label"]] += 1
        right = sum(max(counted.values()) for counted in labels.values())
        share = right / sum(counted.total() for counted in labels.values())
        assert stored["nlvr2_blind_accuracy"][side] == round(share, 4)
        assert 0.5 < share < 0.7
    assert {"directOf color", "directOf size", "verifyAttr"} <= stored["gqa_guesses"].keys()
    guesses = sum(sum(guessed.values()) for guessed in stored["gqa_guesses"].values())
    assert guesses == sum(split["gqa_balanced"] for split in stored["splits"].values())


def test_same_seed_gives_same_bytes_in_any_process_with_any_number_of_workers(
    dataset_on_disk, tmp_path: Path
):
    script = (
        "from lxmert.scenes import make_scenes\n"
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    make_scenes(sys.argv[1], 60, 3, workers=2, progress=False)\n"
    )
    (tmp_path / "make.py").write_text(script)
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run(
        [sys.executable, str(tmp_path / "make.py"), str(tmp_path / "data")], check=True, env=environment
    )
    assert file_digests(tmp_path / "data") == file_digests(dataset_on_disk.folder)


def test_another_seed_gives_other_images(dataset_on_disk, tmp_path: Path):
    make_scenes(tmp_path, 3, 4, progress=False)
    same = file_digests(tmp_path).items() & file_digests(dataset_on_disk.folder).items()
    assert not [name for name, _ in same if name.endswith(".png")]


def test_more_images_extend_a_smaller_data_set(dataset_on_disk, tmp_path: Path):
    make_scenes(tmp_path, 11, 3, progress=False)
    small, large = file_digests(tmp_path), file_digests(dataset_on_disk.folder)
    pictures = {name for name in small if name.endswith(".png")}
    assert len(pictures) == 11
    assert all(small[name] == large[name] for name in pictures)
    for name in ("vqa_train_questions", "vqa_val_annotations", "instances_test", "captions_train"):
        key = "questions" if name.endswith("questions") else "annotations"
        records = json.loads((tmp_path / "annotations" / f"{name}.json").read_text())[key]
        assert records
        assert records == dataset_on_disk.read(name)[key][: len(records)]
    for name in ("nlvr2_train", "gqa_test_questions", "vg_val_region_descriptions"):
        small_lines = (tmp_path / "annotations" / f"{name}.json").read_text().splitlines()
        large_lines = dataset_on_disk.path(name).read_text().splitlines()
        records = [line.rstrip(",") for line in small_lines if len(line) > 1]
        assert records
        assert records == [line.rstrip(",") for line in large_lines if len(line) > 1][: len(records)]


def test_nlvr2_file_is_a_line_for_each_example_and_empty_without(dataset_on_disk, tmp_path: Path):
    make_scenes(tmp_path, 9, 3, progress=False)
    # The only picture of its split has no partner.
    assert (tmp_path / "annotations" / "nlvr2_val.json").read_bytes() == b""
    content = dataset_on_disk.path("nlvr2_train").read_text()
    assert content.endswith("}\n")
    assert "\n\n" not in content


def test_progress_is_shown_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    make_scenes(tmp_path, 3, 0)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err


def test_sample_equals_stored_image_and_questions(dataset_on_disk):
    picture, scene, questions = sample(3, 8)
    with Image.open(dataset_on_disk.folder / "images/val/scenes_val_000000000009.png") as stored:
        assert stored.tobytes() == picture.tobytes()
    assert picture.size == (scene.size_hw[1], scene.size_hw[0])
    stored_questions = dataset_on_disk.read("vqa_val_questions")["questions"]
    assert [q["question"] for q in stored_questions if q["image_id"] == 9] == [q.text for q in questions]


def test_scenes_questions_and_captions_of_a_seed_do_not_change_between_versions():
    """The embedded model's card names a seed: raise GENERATOR_VERSION where this digest must change."""
    digest = hashlib.sha256()
    for index in range(60):
        scene = make_scene(random_stream(1, index, "scene"))
        questions = generate_questions(scene, random_stream(1, index, "questions"), 20)
        captions = generate_captions(scene, random_stream(1, index, "captions"))
        digest.update(repr((scene, questions, captions)).encode())
    assert (dataset.GENERATOR_VERSION, digest.hexdigest()[:16]) == GOLDEN


GOLDEN = (2, "40d01810f62ac638")


def test_files_of_seed_do_not_change_between_versions(dataset_on_disk):
    """All but the descriptions, which came later and have a digest of their own."""
    digests = {
        name: digest
        for name, digest in file_digests(dataset_on_disk.folder).items()
        if name.endswith(".json") and not name.startswith("annotations/descriptions_")
    }
    assert len(digests) == 34
    assert hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16] == "107f85d57824263d"


def test_workers_stop_after_current_image_once_generator_is_closed(monkeypatch: pytest.MonkeyPatch):
    pool_initargs = []

    def pool(workers, initializer, initargs):
        pool_initargs.extend(initargs)
        return WorkerPool(workers, initializer, initargs)

    monkeypatch.setattr(generation, "WorkerPool", pool)
    generated = generation.generate(3, 10**6, 1, 2)
    next(generated)
    (should_stop,) = pool_initargs
    monkeypatch.setattr(generation._worker, "should_stop", should_stop, raising=False)
    assert len(generation._generate_chunk(3, 0, 4, 1)) == 4
    generated.close()
    assert generation._generate_chunk(3, 0, 4, 1) == []


def test_other_scenes_are_replaced_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_scenes(tmp_path, 12, 4, progress=False, questions_per_image=3)
    before = file_digests(tmp_path)
    changes = {"seed 4, not 5": {"seed": 5}, "images 12, not 9": {"images": 9}}
    changes |= {"questions_per_image 3, not 20": {"questions_per_image": 20}}
    changes |= {"seed 4, not 5, images 12, not 9": {"seed": 5, "images": 9}}
    for difference, changed in changes.items():
        arguments = {"images": 12, "seed": 4, "questions_per_image": 3, "progress": False, **changed}
        with pytest.raises(InputError, match=rf"other generated scenes \({difference}\); use --overwrite"):
            make_scenes(tmp_path, **arguments)
        assert file_digests(tmp_path) == before
    make_scenes(tmp_path, 12, 4, progress=False, questions_per_image=3)
    assert file_digests(tmp_path) == before
    with monkeypatch.context() as patched:
        patched.setattr(dataset, "GENERATOR_VERSION", dataset.GENERATOR_VERSION + 1)
        with pytest.raises(InputError, match=rf"\(generator_version {GOLDEN[0]}, not {GOLDEN[0] + 1}\)"):
            make_scenes(tmp_path, 12, 4, progress=False, questions_per_image=3)
    # As when a run is interrupted.
    (tmp_path / "scenes.json").rename(tmp_path / "scenes.unfinished.json")
    with pytest.raises(InputError, match=r"other generated scenes \(images 12, not 9\)"):
        make_scenes(tmp_path, 9, 4, progress=False, questions_per_image=3)
    make_scenes(tmp_path, 9, 4, progress=False, questions_per_image=3, overwrite=True)
    assert len(list((tmp_path / "images").rglob("*.png"))) == 9


def test_interrupted_run_leaves_no_valid_dataset_and_second_run_completes_it(
    dataset_on_disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*arguments: object):
        made_so_far = dataset_generate(*arguments)
        for _ in range(7):
            yield next(made_so_far)
        raise KeyboardInterrupt

    dataset_generate = dataset.generate
    make_scenes(tmp_path, 60, 9, progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(dataset, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make_scenes(tmp_path, 60, 3, progress=False, overwrite=True)
    assert not (tmp_path / "scenes.json").exists()
    assert not list(tmp_path.rglob("*.partial"))
    make_scenes(tmp_path, 60, 3, progress=False)
    assert file_digests(tmp_path) == file_digests(dataset_on_disk.folder)


@pytest.mark.parametrize("removed", [0, 10, 36, 40])
def test_annotations_never_stand_beside_pictures_of_others_when_overwriting_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
):
    make_scenes(tmp_path, 12, 1, progress=False)
    before = file_digests(tmp_path)
    unlink = Path.unlink
    scene_files = []

    def killed(path: Path, **options: bool) -> None:
        if path.parent != tmp_path:
            scene_files.append(path)
        if len(scene_files) > removed:
            raise KeyboardInterrupt
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(tmp_path, 12, 2, progress=False, overwrite=True)
    monkeypatch.undo()
    left = file_digests(tmp_path)
    assert left.pop("scenes.unfinished.json")
    assert left.items() <= before.items()
    assert len(left) == 36 + 12 - removed
    # Whatever is still there is of the first seed, which is the one that can be continued.
    with pytest.raises(InputError, match=r"other generated scenes \(seed 1, not 2\)"):
        make_scenes(tmp_path, 12, 2, progress=False)
    make_scenes(tmp_path, 12, 1, progress=False)
    assert file_digests(tmp_path) == before


def test_interrupted_overwriting_leaves_no_files_of_the_former_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*arguments: object):
        yield next(made)
        raise KeyboardInterrupt

    made = generation.generate(2, 1, 1, 1)
    make_scenes(tmp_path, 12, 1, progress=False)
    monkeypatch.setattr(dataset, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_scenes(tmp_path, 12, 2, progress=False, overwrite=True)
    left = set(file_digests(tmp_path))
    assert left == {"scenes.unfinished.json", "images/train/scenes_train_000000000001.png"}


def test_annotations_are_on_the_disk_before_the_summary_and_pictures_wait_for_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sizes = {}
    monkeypatch.setattr(
        os, "fsync", lambda number: sizes.update({os.fstat(number).st_ino: os.fstat(number).st_size})
    )
    make_scenes(tmp_path, 3, 0, progress=False)
    files = [tmp_path / "scenes.json", *(tmp_path / "annotations").iterdir()]
    assert {path.stat().st_ino: path.stat().st_size for path in files}.items() <= sizes.items()
    assert not {path.stat().st_ino for path in tmp_path.rglob("*.png")} & sizes.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
@pytest.mark.parametrize(
    ("limit", "file"),
    [
        (100, "scenes.unfinished.json"),
        (1_000, "images/train/scenes_train_000000000001.png"),
        (100_000, "annotations/vqa_train_annotations.json"),
    ],
)
def test_error_of_full_disk_names_the_file_and_leaves_no_temporary_ones(
    tmp_path: Path, limit: int, file: str
):
    import resource

    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            make_scenes(tmp_path, 9, 0, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert caught.value.filename == str(tmp_path / file)
    assert not list(tmp_path.rglob("*.partial"))


def test_run_that_failed_at_its_start_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mkdir = Path.mkdir

    def failing(path: Path, *arguments: object, **options: bool) -> None:
        if path.name == "val":
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", failing)
    with pytest.raises(OSError, match="No space left"):
        make_scenes(tmp_path, 3, 0, progress=False)
    assert (tmp_path / "images" / "train").is_dir()
    monkeypatch.undo()
    make_scenes(tmp_path, 3, 0, progress=False)


def test_run_killed_while_marking_its_directory_can_be_repeated(tmp_path: Path):
    (tmp_path / "scenes.unfinished.json.0123abcd.partial").write_bytes(b"{")
    make_scenes(tmp_path, 3, 0, progress=False)
    assert sorted(os.listdir(tmp_path)) == ["annotations", "images", "scenes.json"]


def test_smaller_data_set_replaces_larger_one_completely(tmp_path: Path):
    make_scenes(tmp_path / "a", 25, 3, progress=False)
    (tmp_path / "a" / "notes.txt").write_text("mine")
    # What a killed run may leave behind.
    (tmp_path / "a/images/train/scenes_train_000000000001.png.0123abcd.partial").write_bytes(b"")
    make_scenes(tmp_path / "a", 12, 4, progress=False, questions_per_image=3, overwrite=True)
    make_scenes(tmp_path / "b", 12, 4, progress=False, questions_per_image=3)
    replaced = file_digests(tmp_path / "a")
    assert replaced.pop("notes.txt")
    assert replaced == file_digests(tmp_path / "b")


@pytest.mark.skipif(sys.platform == "win32", reason="no lock there")
def test_directory_that_another_process_writes_to_is_rejected_until_that_one_is_dead(tmp_path: Path):
    make_scenes(tmp_path, 3, 0, progress=False)
    before = file_digests(tmp_path)
    script = (
        "import pathlib, sys, time\n"
        "from lxmert.locks import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            with pytest.raises(DataError, match="another process is writing to this folder; wait for it"):
                make_scenes(tmp_path, 3, 1, progress=False, overwrite=True)
            assert file_digests(tmp_path) == before
        finally:
            other.kill()
    make_scenes(tmp_path, 3, 0, progress=False)
    assert file_digests(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("photo.jpg", "[]"),
        ("scenes.json", "[]"),
        ("scenes.json", "no JSON"),
        ("scenes.json", '{"format": "other"}'),
    ],
)
def test_non_empty_foreign_directory_is_rejected_and_left_untouched(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=r"not empty .*choose a new or empty folder"):
        make_scenes(tmp_path, 3, 0, progress=False)
    assert os.listdir(tmp_path) == [name]


def test_file_in_place_of_directory_is_rejected(tmp_path: Path):
    (tmp_path / "data").write_text("")
    with pytest.raises(InputError, match="is a file"):
        make_scenes(tmp_path / "data", 3, 0, progress=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": 0}, "images is 0, expected a whole number from 1"),
        ({"seed": -1}, "seed is -1"),
        ({"images": 1.5}, "images is 1.5"),
        ({"questions_per_image": 101}, "questions_per_image is 101, expected a whole number from 1 to 100"),
        ({"workers": 0}, "workers is 0"),
        ({"workers": 1025}, "workers is 1025, expected a whole number from 1 to 1024"),
    ],
)
def test_numbers_out_of_range_are_rejected(tmp_path: Path, changed: dict, message: str):
    with pytest.raises(InputError, match=message):
        make_scenes(tmp_path / "data", **{"images": 1, "seed": 0, "progress": False, **changed})
    assert not (tmp_path / "data").exists()


def test_blind_accuracies_of_empty_counts_are_zero():
    assert SceneCounts().blind_accuracy == SceneCounts().gqa_blind_accuracy == 0.0
    assert SceneCounts().nlvr2_blind_accuracy == {"sentence": 0.0, "left": 0.0, "right": 0.0}
