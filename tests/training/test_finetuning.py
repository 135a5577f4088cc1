import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lxmert.data.coco import read_instances
from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.data.vqa import VqaData, read_vqa
from lxmert.errors import ConfigurationError, DataError, IncompleteWeightsError, TrainingError, WeightsError
from lxmert.model import LxmertForQuestionAnswering
from lxmert.processing import LxmertProcessor
from lxmert.scenes.vocabulary import scene_vocabulary
from lxmert.training import trainer
from lxmert.training.cpu.encoder import _PackedForward
from lxmert.training.evaluation import evaluate_model
from lxmert.training.finetuning import finetune
from lxmert.training.initial_model import build_tokenizer
from lxmert.training.recipe import FinetuneRecipe, ModelSection
from lxmert.training.running import save_weights
from lxmert.training.validation_batches import validation_batches
from lxmert.vision.regions import Regions
from tests.training.interruption import Interrupted, assert_same_weights, weights

Make = Callable[..., FinetuneRecipe]


def test_run_leaves_a_complete_model_folder(tiny_recipe: Make, tmp_path: Path, scenes_folder: Path) -> None:
    recipe = tiny_recipe(saving={"weights_dtype": "float16"})
    result = finetune(recipe, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer.json",
        "processor_config.json",
        "answers.json",
        "metrics.json",
        "recipe.resolved.yaml",
        "checkpoints",
    }
    assert FinetuneRecipe.from_yaml(tmp_path / "out" / "recipe.resolved.yaml") == recipe
    # 10 images of 20 questions in batches of 32: seven steps an epoch.
    assert [(epoch["epoch"], epoch["step"]) for epoch in result.metrics["epochs"]] == [(1.0, 7), (2.0, 14)]
    assert result.metrics["epochs"][0]["validation_accuracy_per_family"]
    best = max(epoch["validation_accuracy"] for epoch in result.metrics["epochs"])
    assert result.validation_accuracy == best
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result.metrics

    # Stored small, loaded as float32, and the folder alone gives the figure again.
    assert weights(tmp_path / "out")["lxmert.embeddings.word_embeddings.weight"].dtype == torch.float16
    model = LxmertForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    report = evaluate_model(model, LxmertProcessor.from_pretrained(tmp_path / "out"), scenes_folder, "test")
    assert report.accuracy == result.test_accuracy
    assert report.to_dict() == result.metrics["test"]


def test_training_lowers_the_loss(tiny_recipe: Make, tmp_path: Path) -> None:
    metrics = finetune(tiny_recipe(optimisation={"epochs": 4}), tmp_path / "out").metrics
    losses = [epoch["validation_loss"] for epoch in metrics["epochs"]]
    assert losses[-1] < losses[0] - 0.1


def test_validations_show_one_progress_bar(
    tiny_recipe: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    finetune(tiny_recipe(), tmp_path / "out", progress=True)
    # One bar, which the second epoch begins anew.
    output = capfd.readouterr()
    assert not output.out
    shown = [line.split() for line in output.err.splitlines() if line.startswith("Validation ")]
    assert len(shown) == 1
    done, total = next(word for word in shown[0] if word[0].isdigit()).split("/")
    assert int(done) == int(total) > 1


def test_validation_batches_sentences_of_similar_length(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    longest: list[int] = []

    def noted(dataset: Any, *args: Any, **kwargs: Any) -> Iterator[tuple[Tensor, dict[str, Any]]]:
        # The fourth of four sentences ordered by length is the longest.
        longest.extend(sorted(dataset.lengths)[3::4])
        for rows, batch in validation_batches(dataset, *args, **kwargs):
            shapes.append(tuple(batch["input_ids"].shape))
            yield rows, batch

    monkeypatch.setattr(trainer, "validation_batches", noted)
    recipe = tiny_recipe(data={"test_split": None}, optimisation={"epochs": 1}, evaluation={"batch_size": 4})
    finetune(recipe, tmp_path / "out")
    assert [words for size, words in shapes if size == 4] == longest
    assert len(set(longest)) > 1


def test_training_with_soft_bce_lowers_the_loss(tiny_recipe: Make, tmp_path: Path) -> None:
    metrics = finetune(tiny_recipe(optimisation={"loss": "soft_bce"}), tmp_path / "out").metrics
    losses = [epoch["validation_loss"] for epoch in metrics["epochs"]]
    # Summed over 36 answers: a start near 36 ln 2 = 25.
    assert losses[1] < losses[0] < 30


@pytest.mark.parametrize("every_steps", [None, 3, 7])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], every_steps: int | None
) -> None:
    select = "best" if every_steps is None else "last"
    recipe = tiny_recipe(saving={"checkpoint_every_steps": every_steps, "select": select})
    whole = finetune(recipe, tmp_path / "whole")
    interrupt_at(11)
    with pytest.raises(Interrupted):
        finetune(recipe, tmp_path / "broken")
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    interrupt_at(-1)
    resumed = finetune(recipe, tmp_path / "broken", resume=True)
    # Epochs end at 7 and 14; steps are kept at 3, 6, 9.
    assert resumed.metrics["training"]["resumed_at_step"] == (9 if every_steps == 3 else 7)
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert resumed.metrics["epochs"] == whole.metrics["epochs"]
    assert resumed.metrics["test"] == whole.metrics["test"]


def test_resume_with_other_data_is_rejected(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], scenes_folder: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(scenes_folder, data)
    answers = {"source": "annotations", "min_count": 1}
    recipe = tiny_recipe(data={"directory": str(data), "answers": answers, "test_split": None})
    interrupt_at(11)
    with pytest.raises(Interrupted):
        finetune(recipe, out)
    interrupt_at(-1)
    path = data / "annotations/vqa_val_annotations.json"
    kept = path.read_text()
    annotations = json.loads(kept)
    first = annotations["annotations"][0]
    for answer in first["answers"]:
        answer["answer"] = "yes" if first["multiple_choice_answer"] != "yes" else "no"
    path.write_text(json.dumps(annotations))
    with pytest.raises(
        ConfigurationError, match=r"with these: they differ in the validation examples; restore"
    ):
        finetune(recipe, out, resume=True)
    path.write_text(kept)
    # Without its first question each class of the head may mean another answer.
    paths = [data / f"annotations/vqa_train_{part}.json" for part in ("questions", "annotations")]
    before = [path.read_text() for path in paths]
    for path in paths:
        values = json.loads(path.read_text())
        path.write_text(json.dumps(values | {path.stem.split("_")[-1]: values[path.stem.split("_")[-1]][1:]}))
    with pytest.raises(ConfigurationError, match=r"they differ in the answers, the training examples, the"):
        finetune(recipe, out, resume=True)
    for path, text in zip(paths, before, strict=True):
        path.write_text(text)
    assert finetune(recipe, out, resume=True).metrics["training"]["resumed_at_step"] == 7


def write_features(store: Path, scenes_folder: Path, dtype: str) -> None:
    """A store of the pictures of training and validation."""
    with FeatureStoreWriter(store, StoreManifest(4, dtype, "test/4")) as writer:
        for split in ("train", "val"):
            for image in read_instances(scenes_folder / f"annotations/instances_{split}.json").values():
                boxes = image.boxes_xyxy_px
                features = torch.full((len(boxes), 4), 1 / 3)
                writer.add(image.file_name, Regions(boxes, features, image.size_hw, "test/4"))


def test_resume_with_other_features_is_rejected_unless_the_run_has_no_record_of_them(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], scenes_folder: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    write_features(store, scenes_folder, "float32")
    recipe = tiny_recipe(data={"features": str(store), "extractor": None, "test_split": None})
    interrupt_at(9)
    with pytest.raises(Interrupted):
        finetune(recipe, out)
    interrupt_at(-1)
    shutil.rmtree(store)
    write_features(store, scenes_folder, "float16")
    with pytest.raises(ConfigurationError, match="with these: they differ in the features; restore them"):
        finetune(recipe, out, resume=True)
    file = out / "checkpoints" / "data.json"
    fingerprints = json.loads(file.read_text())
    del fingerprints["features"]
    file.write_text(json.dumps(fingerprints))
    assert finetune(recipe, out, resume=True).metrics["training"]["resumed_at_step"] == 7


@pytest.mark.parametrize("damaged", [None, "optimizer.pt", "model.safetensors"])
def test_incomplete_or_damaged_checkpoint_is_skipped_on_resume(
    tiny_recipe: Make,
    tmp_path: Path,
    interrupt_at: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
    damaged: str | None,
) -> None:
    recipe = tiny_recipe()
    finetune(recipe, tmp_path / "whole")
    interrupt_at(9)
    with pytest.raises(Interrupted):
        finetune(recipe, tmp_path / "broken")
    half = tmp_path / "broken" / "checkpoints" / "checkpoint-8"
    if damaged is None:
        half.mkdir()
        (half / "model.safetensors").write_bytes(b"half")
    else:
        shutil.copytree(half.with_name("checkpoint-7"), half)
        (half / damaged).write_bytes(b"")
    interrupt_at(-1)
    resumed = finetune(recipe, tmp_path / "broken", resume=True)
    assert "checkpoint-8 is incomplete or damaged; the run continues from checkpoint-7" in caplog.text
    assert resumed.metrics["training"]["resumed_at_step"] == 7
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def test_resume_with_only_incomplete_checkpoint_starts_over_with_warning(
    tiny_recipe: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = tiny_recipe(optimisation={"epochs": 1}, data={"test_split": None})
    half = tmp_path / "out" / "checkpoints" / "checkpoint-7"
    half.mkdir(parents=True)
    (tmp_path / "out" / "recipe.resolved.yaml").write_text(recipe.to_yaml())
    with pytest.raises(ConfigurationError, match="add --resume"):
        finetune(recipe, tmp_path / "out")
    result = finetune(recipe, tmp_path / "out", resume=True)
    assert result.metrics["training"]["resumed_at_step"] is None
    assert "no complete checkpoint; the run starts over" in caplog.text


def test_another_number_of_processes_cannot_resume_a_run(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(data={"test_split": None})
    interrupt_at(9)
    with pytest.raises(Interrupted):
        finetune(recipe, tmp_path / "out")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigurationError, match="a run of 1 process, so it cannot be resumed with 2"):
        finetune(recipe, tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-7" / "model.safetensors").is_file()


@pytest.mark.parametrize("every_steps", [2, 3, 50])
def test_training_loss_of_an_epoch_is_the_mean_of_its_steps(
    tiny_recipe: Make, tmp_path: Path, every_steps: int
) -> None:
    each = finetune(
        tiny_recipe(saving={"log_every_steps": 1, "select": "last"}, data={"test_split": None}),
        tmp_path / "each",
    ).metrics["epochs"]
    log = json.loads((tmp_path / "each/checkpoints/checkpoint-14/trainer_state.json").read_text())
    losses = [entry["loss"] for entry in log["log_history"] if "loss" in entry]
    assert len(losses) == 14
    expected = [sum(losses[:7]) / 7, sum(losses[7:]) / 7]
    # No checkpoint is saved with these validations.
    saving = {"log_every_steps": every_steps, "select": "last", "checkpoint_every_steps": 100}
    some = finetune(tiny_recipe(saving=saving), tmp_path / "some").metrics["epochs"]
    for epochs in (each, some):
        assert [epoch["train_loss"] for epoch in epochs] == pytest.approx(expected, rel=1e-5)


def test_resumed_run_logs_as_often_as_its_new_recipe_says(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None]
) -> None:
    interrupt_at(9)
    with pytest.raises(Interrupted):
        finetune(tiny_recipe(data={"test_split": None}, saving={"log_every_steps": 100}), tmp_path)
    interrupt_at(-1)
    finetune(tiny_recipe(saving={"log_every_steps": 2}), tmp_path, resume=True)
    log = json.loads((tmp_path / "checkpoints/checkpoint-14/trainer_state.json").read_text())["log_history"]
    # The steps before the checkpoint, of step 7, are logged as before.
    assert [entry["step"] for entry in log if "loss" in entry] == [7, 8, 10, 12, 14]


@pytest.mark.slow
def test_killed_process_resumes_to_the_same_weights(tiny_recipe: Make, tmp_path: Path) -> None:
    recipe = tiny_recipe(optimisation={"epochs": 6}, saving={"checkpoint_every_steps": 5, "select": "last"})
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    code = (
        "import sys; from lxmert.training.finetuning import finetune;"
        "from lxmert.training.recipe import FinetuneRecipe as R;"
        "finetune(R.from_yaml(sys.argv[1]), sys.argv[2], resume=True)"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "recipe.yaml"), str(tmp_path / "broken")]
    with subprocess.Popen(arguments, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        while not (tmp_path / "broken" / "checkpoints" / "checkpoint-10").exists():
            assert process.poll() is None, "ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    finetune(recipe, tmp_path / "whole")
    subprocess.run(arguments, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "broken"))


def metrics_when_resumed_after_last_step(
    recipe: FinetuneRecipe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The metrics of a run interrupted after its last step, before anything was saved, and then resumed."""

    def break_off(*arguments: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr("lxmert.training.finetuning.save_weights", break_off)
        with pytest.raises(Interrupted):
            finetune(recipe, folder)
    return finetune(recipe, folder, resume=True).metrics


def test_run_interrupted_after_last_step_is_not_trained_again(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So little is learned that the first epoch stays the best.
    recipe = tiny_recipe(
        data={"test_split": None}, optimisation={"epochs": 3, "peak_learning_rate": 1e-9, "warmup": 0}
    )

    metrics = metrics_when_resumed_after_last_step(recipe, tmp_path, monkeypatch)
    steps = metrics["training"]["steps"]
    assert metrics["training"]["resumed_at_step"] == steps
    assert [epoch["step"] for epoch in metrics["epochs"]] == [steps // 3, 2 * steps // 3, steps]
    assert_same_weights(weights(tmp_path), weights(tmp_path / "checkpoints" / f"checkpoint-{steps // 3}"))


@pytest.mark.parametrize("every_steps", [None, 11])
def test_run_interrupted_after_last_step_within_epoch_is_not_trained_again(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_steps: int | None
) -> None:
    saving = {"select": "last", "checkpoint_every_steps": every_steps}
    recipe = tiny_recipe(data={"test_split": None}, optimisation={"epochs": 1.5}, saving=saving)

    metrics = metrics_when_resumed_after_last_step(recipe, tmp_path, monkeypatch)
    # 7 steps an epoch; half of one is rounded up.
    assert [epoch["step"] for epoch in metrics["epochs"]] == [7, 11]
    assert metrics["training"]["steps"] == metrics["training"]["resumed_at_step"] == 11
    assert_same_weights(weights(tmp_path), weights(tmp_path / "checkpoints" / "checkpoint-11"))


def test_older_checkpoints_are_kept_until_all_processes_have_saved(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints_at_wait: list[str] = []

    def wait(accelerator: Accelerator) -> None:
        names = sorted(folder.name for folder in (tmp_path / "checkpoints").glob("checkpoint-*"))
        checkpoints_at_wait.append(" ".join(names))

    monkeypatch.setattr(Accelerator, "wait_for_everyone", wait)
    finetune(
        tiny_recipe(data={"test_split": None}, optimisation={"epochs": 3}, saving={"select": "last"}),
        tmp_path,
    )
    assert checkpoints_at_wait == [
        "checkpoint-7",
        "checkpoint-14 checkpoint-7",
        "checkpoint-14 checkpoint-21",
    ]
    assert [folder.name for folder in (tmp_path / "checkpoints").glob("checkpoint-*")] == ["checkpoint-21"]


def test_failed_checkpoint_or_model_write_raises_training_error(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **settings: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(LxmertForQuestionAnswering, "save_pretrained", full)
    with pytest.raises(TrainingError, match=r"the checkpoint of step \d+ could not be written .*--resume"):
        finetune(tiny_recipe(data={"test_split": None}), tmp_path)
    model: Any = SimpleNamespace(state_dict=dict, save_pretrained=full)
    with pytest.raises(TrainingError, match=r"the model in .* could not be written .*No space left"):
        save_weights(model, tmp_path, "float32")


@pytest.mark.parametrize(("max_length", "multiple", "places"), [(33, 1, 33), (20, 48, 48)])
def test_max_length_beyond_model_positions_is_rejected_before_extraction(
    tiny_recipe: Make, tmp_path: Path, max_length: int, multiple: int, places: int
) -> None:
    recipe = tiny_recipe(text={"max_length": max_length, "pad_to_multiple_of": multiple})
    with pytest.raises(ConfigurationError, match=f"of {places} word pieces, but the model has 32 positions"):
        finetune(recipe, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_fewer_word_embeddings_than_words_are_rejected_before_extraction(
    tiny_recipe: Make, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"has \d+ word pieces, but the model embeddings of 9 "):
        finetune(tiny_recipe(model={"config": {"vocab_size": 9}}), tmp_path)


def test_non_empty_folder_is_rejected_and_unchanged(tiny_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty; add --resume"):
        finetune(tiny_recipe(), tmp_path)
    with pytest.raises(ConfigurationError, match="contains no run to resume"):
        finetune(tiny_recipe(), tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    with pytest.raises(ConfigurationError, match="is a file"):
        finetune(tiny_recipe(), tmp_path / "note.txt")


def test_another_recipe_cannot_resume_a_run_and_a_finished_one_is_returned(
    tiny_recipe: Make, tmp_path: Path
) -> None:
    recipe = tiny_recipe(optimisation={"epochs": 1}, data={"test_split": None})
    first = finetune(recipe, tmp_path / "out")
    assert first.test_accuracy is None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises(ConfigurationError, match=r"optimisation.epochs: 2.0 here, 1.0 there"):
        finetune(tiny_recipe(optimisation={"epochs": 2}), tmp_path / "out", resume=True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
    again = finetune(tiny_recipe(optimisation={"epochs": 1}), tmp_path / "out", resume=True)
    assert again.metrics == first.metrics


def test_finetuning_from_folder_carries_answer_rows_over_by_name(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    finetune(tiny_recipe(optimisation={"epochs": 1}, data={"test_split": None}), tmp_path / "first")
    answers = ["blue", "never heard of", "yes"]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    tiny_values["model"] = {"from_pretrained": str(tmp_path / "first")}
    negligible_updates = {"epochs": 1, "peak_learning_rate": 1e-12, "weight_decay": 0.0}
    recipe = tiny_recipe(
        data={"answers": {"source": str(tmp_path / "answers.json")}}, optimisation=negligible_updates
    )
    finetune(recipe, tmp_path / "second")
    old, new = weights(tmp_path / "first"), weights(tmp_path / "second")
    known = json.loads((tmp_path / "first" / "answers.json").read_text())
    layer = "answer_head.logit_fc.3"
    for name in (f"{layer}.weight", f"{layer}.bias"):
        expected = torch.stack(
            [old[name][known.index("blue")], old[name][0] * 0, old[name][known.index("yes")]]
        )
        torch.testing.assert_close(new[name], expected, rtol=0, atol=1e-8)
    torch.testing.assert_close(
        new["answer_head.logit_fc.0.weight"], old["answer_head.logit_fc.0.weight"], rtol=0, atol=1e-8
    )
    assert json.loads((tmp_path / "second" / "answers.json").read_text()) == answers


def test_extractor_of_another_width_is_rejected(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    finetune(tiny_recipe(optimisation={"epochs": 1}, data={"test_split": None}), tmp_path / "first")
    tiny_values["model"] = {"from_pretrained": str(tmp_path / "first")}
    wider = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 3}}
    with pytest.raises(ConfigurationError, match=r"takes 12 features per object.* have 27"):
        finetune(tiny_recipe(data={"extractor": wider}), tmp_path / "second")


def test_initial_model_may_lack_its_head_but_not_encoder_weights(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    short = {"epochs": 1}
    finetune(tiny_recipe(optimisation=short, data={"test_split": None}), tmp_path / "first")
    file = tmp_path / "first" / "model.safetensors"
    tiny_values["model"] = {"from_pretrained": str(tmp_path / "first")}
    kept = {name: tensor for name, tensor in weights(tmp_path / "first").items() if "answer_head" not in name}
    save_file(kept, file, metadata={"format": "pt"})
    finetune(tiny_recipe(), tmp_path / "second")
    del kept["lxmert.pooler.dense.weight"]
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(IncompleteWeightsError, match="partly random encoder"):
        finetune(tiny_recipe(), tmp_path / "third")


@pytest.mark.parametrize("name", ["runs/none", "./none", "/none", "models/none"])
def test_missing_model_folder_is_not_looked_up_on_the_hub(
    tiny_recipe: Make,
    tiny_values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    tiny_values["model"] = {"from_pretrained": name}
    with pytest.raises(ConfigurationError, match="no such model folder"):
        finetune(tiny_recipe(), tmp_path / "out")


def test_unknown_model_name_is_not_looked_up_on_the_hub(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    tiny_values["model"] = {"from_pretrained": "pretrainde"}
    with pytest.raises(WeightsError, match="unknown model 'pretrainde'"):
        finetune(tiny_recipe(), tmp_path / "out")


def test_tokenizer_is_built_from_embedded_model() -> None:
    tokenizer = build_tokenizer(ModelSection(from_pretrained="scenes"), lower_case=True)
    assert len(tokenizer) == len(scene_vocabulary())


def test_failed_start_leaves_folder_reusable(tiny_recipe: Make, tmp_path: Path, scenes_folder: Path) -> None:
    with pytest.raises(DataError, match="no such data directory"):
        finetune(tiny_recipe(data={"directory": str(tmp_path / "none")}), tmp_path / "out")
    with pytest.raises(DataError, match="other"):
        finetune(tiny_recipe(data={"directory": str(tmp_path / "other")}), tmp_path / "out")
    data, half = {"directory": str(scenes_folder)}, {"batch_size": 32, "optimizer": "bert_adam"}
    # Found once the Trainer has made the folder of checkpoints.
    with pytest.raises(ConfigurationError, match="warm"):
        finetune(tiny_recipe(data=data, optimisation=half | {"warmup": 1000}), tmp_path / "out")
    assert (tmp_path / "out" / "checkpoints").is_dir()
    finetune(tiny_recipe(optimisation=half | {"warmup": 2, "epochs": 1}), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        ("vqa", {"test_split": "nothere"}, "vqa_nothere_annotations.json: no such file"),
        ("nlvr2", {"test_split": "nothere"}, "nlvr2_nothere.json: no such file"),
        ("gqa", {"test_split": "nothere"}, "gqa_nothere_questions.json: no such file"),
        ("gqa", {"files": {"choices": "none_{split}.json"}}, "none_test.json: no such file"),
        (
            "gqa",
            {"files": {"choices": "none_{split}.json"}, "test_split": None},
            "none_val.json: no such file",
        ),
    ],
)
def test_missing_scoring_files_raise_before_first_step(
    tiny_recipe: Make,
    tiny_values: dict[str, Any],
    tmp_path: Path,
    interrupt_at: Callable[[int], None],
    task: str,
    data: dict[str, Any],
    message: str,
) -> None:
    tiny_values["task"] = task
    if task == "nlvr2":
        del tiny_values["data"]["answers"], tiny_values["optimisation"]["loss"]
    if task == "gqa":
        tiny_values["data"]["answers"] = {"source": "annotations"}
    interrupt_at(0)
    with pytest.raises(DataError, match=message):
        finetune(tiny_recipe(data=data), tmp_path / "out")


@pytest.mark.parametrize(("images", "readings"), [(None, 2), (3, 3)])
def test_shared_validation_and_test_split_is_read_twice_or_thrice_if_limited(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int | None, readings: int
) -> None:
    read: list[str] = []

    def reading(path: Path, *files: Any, **settings: Any) -> VqaData:
        read.append(path.name)
        return read_vqa(path, *files, **settings)

    monkeypatch.setattr("lxmert.data.vqa_split.read_vqa", reading)
    recipe = tiny_recipe(data={"test_split": "val", "validation_images": images}, optimisation={"epochs": 1})
    metrics = finetune(recipe, tmp_path / "out").metrics
    assert Counter(read) == {"vqa_train_questions.json": 1, "vqa_val_questions.json": readings}
    assert metrics["test"]["split"] == "val"


def test_feature_store_without_test_images_raises_before_first_step(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], scenes_folder: Path
) -> None:
    write_features(tmp_path / "store", scenes_folder, "float32")
    interrupt_at(0)
    data = {"features": str(tmp_path / "store"), "extractor": None}
    with pytest.raises(DataError, match=r"4 of 4 images are missing, starting with scenes_test_"):
        finetune(tiny_recipe(data=data), tmp_path / "out")


def test_missing_test_image_files_raise_before_first_step(
    tiny_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], scenes_folder: Path
) -> None:
    data = shutil.copytree(scenes_folder, tmp_path / "data")
    for path in (data / "images/test").iterdir():
        path.unlink()
    interrupt_at(0)
    with pytest.raises(
        DataError, match="no such image file; 4 of the 4 images of the split test are missing"
    ):
        finetune(tiny_recipe(data={"directory": str(data)}), tmp_path / "out")


def test_features_and_test_scores_are_computed_on_training_device(
    tiny_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A device where nothing can be computed, so nothing is really moved.
    device, moved = torch.device("meta"), list[str]()

    def noted(self: Any, where: torch.device) -> Any:
        moved.extend([type(self).__name__] if where == device else [])
        return self

    monkeypatch.setattr("lxmert.training.preparation.resolve_device", lambda: device)
    monkeypatch.setattr(LxmertProcessor, "to", noted)
    monkeypatch.setattr(LxmertForQuestionAnswering, "to", noted)
    finetune(tiny_recipe(optimisation={"epochs": 1}), tmp_path / "out")
    assert moved == ["LxmertProcessor", "LxmertForQuestionAnswering", "LxmertProcessor"]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="on a CPU only")
@pytest.mark.parametrize("task", ["vqa", "gqa", "nlvr2"])
@pytest.mark.parametrize("with_objects", [False, True])
def test_each_cpu_step_uses_packed_encoder_and_first_words_only_without_objects(
    tiny_recipe: Make,
    tiny_values: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    with_objects: bool,
) -> None:
    passes: list[bool] = []
    run = _PackedForward.run

    def counted(self: _PackedForward, *states: torch.Tensor) -> Any:
        passes.append(self._first_word_only)
        return run(self, *states)

    monkeypatch.setattr(_PackedForward, "run", counted)
    tiny_values["task"] = task
    if task == "nlvr2":
        del tiny_values["data"]["answers"], tiny_values["optimisation"]["loss"]
    if task == "gqa":
        tiny_values["data"]["answers"] = {"source": "annotations"}
    optimisation = {"epochs": 1, "object_prediction": with_objects}
    recipe = tiny_recipe(data={"test_split": None}, optimisation=optimisation)
    steps = finetune(recipe, tmp_path / "out").metrics["training"]["steps"]
    assert passes == [not with_objects] * steps


def test_lower_case_differing_from_pretrained_tokenizer_is_rejected(
    tiny_recipe: Make, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    finetune(tiny_recipe(optimisation={"epochs": 1}, data={"test_split": None}), tmp_path / "first")
    tiny_values["model"] = {"from_pretrained": str(tmp_path / "first")}
    with pytest.raises(
        ConfigurationError, match=r"lower_case is false, but the tokenizer of .*first has true"
    ):
        finetune(tiny_recipe(text={"lower_case": False}), tmp_path / "second")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train", r"there are 0 training and \d+ validation"),
        ("val", r"\d+ training and 0 validation examples"),
    ],
)
def test_empty_training_or_validation_split_raises_data_error(
    tiny_recipe: Make, scenes_folder: Path, tmp_path: Path, split: str, message: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes_folder / "annotations", data / "annotations")
    for field in ("questions", "annotations"):
        (data / f"annotations/vqa_{split}_{field}.json").write_text(json.dumps({field: []}))
    sizes = {"train_images": None, "validation_images": None, "test_split": None}
    with pytest.raises(DataError, match=message):
        finetune(tiny_recipe(data={"directory": str(data), **sizes}), tmp_path / "out")
