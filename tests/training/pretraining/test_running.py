"""Whole runs: what they leave behind, that they learn, and that an interrupted one ends the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from lxmert.data.feature_store import FeatureStoreWriter, StoreManifest
from lxmert.errors import ConfigurationError, DataError, VocabularyError
from lxmert.model import LxmertForPreTraining
from lxmert.processing import LxmertProcessor
from lxmert.scenes.vocabulary import scene_vocabulary
from lxmert.training.cpu.encoder import _PackedForward
from lxmert.training.finetuning import finetune
from lxmert.training.pretraining.preparation import prepare_pretraining
from lxmert.training.pretraining.recipe import PretrainRecipe
from lxmert.training.pretraining.running import pretrain
from lxmert.training.recipe import FinetuneRecipe
from lxmert.vision.regions import Regions
from tests.training.interruption import Interrupted, assert_same_weights, weights

Make = Callable[..., PretrainRecipe]

ALL_TASKS = (
    "masked_words",
    "matched",
    "object_labels",
    "attribute_labels",
    "feature_regression",
    "qa",
    "place_weight",
)

FLAGS = {
    "task_mask_lm": ["masked_words"],
    "task_matched": ["matched"],
    "task_qa": ["qa"],
    "task_obj_predict": ["object_labels", "attribute_labels", "feature_regression"],
    "visual_obj_loss": ["object_labels"],
    "visual_attr_loss": ["attribute_labels"],
    "visual_feat_loss": ["feature_regression"],
}
"""What of a configuration is True for which tasks."""


def without_times(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [epoch | {"validation": epoch["validation"] | {"runtime": None}} for epoch in epochs]


@pytest.mark.skipif(torch.accelerator.is_available(), reason="on a CPU only")
def test_each_cpu_step_uses_packed_encoder(
    tiny_pretrain_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[_PackedForward] = []
    run = _PackedForward.run

    def counted(self: _PackedForward, *states: torch.Tensor) -> Any:
        passes.append(self)
        return run(self, *states)

    monkeypatch.setattr(_PackedForward, "run", counted)
    recipe = tiny_pretrain_recipe(optimisation={"epochs": 1}, tasks={"place_weight": 1.0})
    metrics = pretrain(recipe, tmp_path / "out").metrics
    assert len(passes) == metrics["training"]["steps"]


def test_run_leaves_a_complete_model_folder_from_which_fine_tuning_starts(
    tiny_pretrain_recipe: Make, tmp_path: Path, tiny_values: dict[str, Any], store_folder: Path
) -> None:
    recipe = tiny_pretrain_recipe(optimisation={"epochs": 1})
    result = pretrain(recipe, tmp_path / "out")
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
    assert PretrainRecipe.from_yaml(tmp_path / "out" / "recipe.resolved.yaml") == recipe
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result.metrics
    # 9 images of 25 sentences in steps of 32: seven whole steps, one sentence is left out.
    assert [epoch["step"] for epoch in result.metrics["epochs"]] == [7]
    metadata = result.metrics["data"]
    assert metadata["train_sentences"] == 225
    reported = metadata["train"]["sources"].values()
    assert sum(source["texts"] for source in reported) == 225
    known = metadata["train_questions_with_known_answer"]
    assert sum(source["questions"] - source["unknown_answers"] for source in reported) == known
    assert "place_predict_head.weight" not in weights(tmp_path / "out")
    model, info = LxmertForPreTraining.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert metadata["parameters"] == sum(one.numel() for one in model.parameters())
    assert model.config.num_object_labels == 7
    assert LxmertProcessor.from_pretrained(tmp_path / "out").answers is not None

    tiny_values["model"] = {"from_pretrained": str(tmp_path / "out")}
    tiny_values["data"] |= {"features": str(store_folder), "extractor": None, "test_split": None}
    tiny_values["optimisation"] |= {"epochs": 1, "peak_learning_rate": 1e-12, "weight_decay": 0.0}
    finetune(FinetuneRecipe.from_dict(tiny_values), tmp_path / "tuned")
    before, after = weights(tmp_path / "out"), weights(tmp_path / "tuned")
    for name in after:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-8)


def test_validations_and_data_type_of_weights_follow_recipe(
    tiny_pretrain_recipe: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_pretrain_recipe(
        optimisation={"epochs": 1}, evaluation={"every_steps": 3}, saving={"weights_dtype": "float16"}
    )
    metrics = pretrain(recipe, tmp_path / "out", progress=True).metrics
    assert [epoch["step"] for epoch in metrics["epochs"]] == [3, 6, 7]
    assert capfd.readouterr().err.count("validation loss") == 3
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float16}


@pytest.mark.parametrize(
    ("tasks", "some_weights_without_gradient"),
    [
        ({}, False),
        ({"place_weight": 0.0}, False),
        ({"qa_from": 0.5}, True),
        ({"qa": 0.0}, True),
        ({"qa": 0.0, "place_weight": 0.0}, True),
    ],
)
def test_processes_look_for_weights_without_gradient_only_where_a_task_is_left_out(
    tiny_pretrain_recipe: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tasks: dict[str, float],
    some_weights_without_gradient: bool,
) -> None:
    given: dict[str, Any] = {}

    def stop(*recipe: Any, **settings: Any) -> None:
        given.update(settings)
        raise Interrupted

    monkeypatch.setattr("lxmert.training.pretraining.running.training_arguments", stop)
    recipe = tiny_pretrain_recipe(tasks=tasks, optimisation={"compile": True, "loader_processes": 2})
    with pytest.raises(Interrupted):
        pretrain(recipe, tmp_path / "out")
    assert given["find_unused_parameters"] == some_weights_without_gradient
    assert (given["compile_model"], given["loader_processes"]) == (True, 2)


def test_initial_weights_depend_on_seed(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    negligible_updates = {"epochs": 0.2, "peak_learning_rate": 1e-12, "weight_decay": 0.0}
    for seed in (1, 2):
        recipe = tiny_pretrain_recipe(optimisation=negligible_updates | {"seed": seed})
        pretrain(recipe, tmp_path / str(seed))
    name = "lxmert.embeddings.word_embeddings.weight"
    one, other = weights(tmp_path / "1")[name], weights(tmp_path / "2")[name]
    assert (one - other).abs().max() > 1e-3


def test_logged_training_figures_match_those_of_each_update(
    tiny_pretrain_recipe: Make, tmp_path: Path
) -> None:
    """Of two updates, each of the 50 sentences about two images in two batches, that change no weight."""
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    recipe = tiny_pretrain_recipe(
        model={"config": tiny_pretrain_recipe().model.config | no_dropout | {"visual_loss_normalizer": 5.0}},
        data={"train_images": 2, "validation_images": 2},
        tasks={"qa": 3.0, "place_weight": 0.0},
        optimisation={
            "batch_size": 25,
            "accumulation_steps": 2,
            "peak_learning_rate": 1e-30,
            "weight_decay": 0.0,
        },
        saving={"log_every_steps": 1},
    )
    epochs = pretrain(recipe, tmp_path / "out").metrics["epochs"]
    model = LxmertForPreTraining.from_pretrained(tmp_path / "out").eval()
    prepared = prepare_pretraining(recipe)
    for epoch in (0, 1):
        batch = prepared.collate([prepared.train[50 * epoch + index] for index in range(50)])
        with torch.no_grad():
            output = model(**batch)
        losses = {name: loss.item() for name, loss in output.losses.items()}
        train = epochs[epoch]["train"]
        assert train["loss"] == pytest.approx(sum(losses.values()) + 2 * losses["qa"], abs=1e-4)
        for task, name in (("masked_words", "masked_lm"), ("matched", "matched"), ("qa", "qa")):
            assert train[f"loss_{task}"] == pytest.approx(losses[name], abs=1e-4)
        # The model averages over all objects; the log over the confidences, without the model's factor.
        confidences = batch["obj_labels"]["obj"][1].sum().item()
        objects = batch["visual_attention_mask"].sum().item()
        expected = losses["obj"] / 5.0 * objects / confidences
        assert train["loss_object_labels"] == pytest.approx(expected, abs=1e-4)
        right = output.cross_relationship_score.argmax(dim=-1) == batch["matched_label"]
        assert train["accuracy_matched"] == pytest.approx(2 * right.sum().item())
        validation = epochs[epoch]["validation"]
        assert validation["weighted_loss_qa"] == pytest.approx(3 * validation["loss_qa"])


def test_metrics_include_constant_predictor_baselines(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    metrics = pretrain(tiny_pretrain_recipe(optimisation={"epochs": 1}), tmp_path / "out").metrics
    kept = metrics["validation"]
    assert kept["loss"] == min(epoch["validation"]["loss"] for epoch in metrics["epochs"])
    assert set(kept["tasks"]) == {*ALL_TASKS[:-1], "places"}
    for task, figures in kept["tasks"].items():
        assert figures["constant_loss"] > 0, task
        has_accuracy = task not in ("feature_regression", "places")
        assert ("constant_accuracy" in figures) == has_accuracy == ("accuracy" in figures)
    assert {"object_labels_masked", "attribute_labels_masked", "qa_all_pairs"} <= kept["accuracies"].keys()
    assert set(kept["sources"]) == {"mscoco", "vqa"}
    assert "qa" not in kept["sources"]["mscoco"]
    assert metrics["epochs"][0]["train"].keys() >= {"loss", "loss_qa", "accuracy_qa", "loss_places"}


@pytest.mark.parametrize("task", ALL_TASKS)
def test_each_task_alone_lowers_its_own_loss(tiny_pretrain_recipe: Make, tmp_path: Path, task: str) -> None:
    alone = dict.fromkeys(ALL_TASKS, 0.0) | {task: 1.0}
    recipe = tiny_pretrain_recipe(
        tasks=alone, optimisation={"epochs": 4, "peak_learning_rate": 3e-3, "warmup": 2}
    )
    metrics = pretrain(recipe, tmp_path / "out").metrics
    name = "places" if task == "place_weight" else task
    assert set(metrics["validation"]["tasks"]) == {name} == set(metrics["constant_predictor"])
    losses = [epoch["validation"][f"loss_{name}"] for epoch in metrics["epochs"]]
    # Nothing is to be learned of matching by so small a model in so short a time.
    assert losses[-1] < losses[0] or task == "matched"
    config = LxmertForPreTraining.from_pretrained(tmp_path / "out").config
    assert {flag: getattr(config, flag) for flag in FLAGS} == {
        flag: task in tasks for flag, tasks in FLAGS.items()
    }


@pytest.mark.parametrize("every_steps", [None, 3, 7])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_pretrain_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], every_steps: int | None
) -> None:
    saving = {"checkpoint_every_steps": every_steps, "select": "best" if every_steps is None else "last"}
    recipe = tiny_pretrain_recipe(saving=saving, tasks={"qa_from": 0.6})
    whole = pretrain(recipe, tmp_path / "whole")
    interrupt_at(11)
    with pytest.raises(Interrupted):
        pretrain(recipe, tmp_path / "broken")
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    interrupt_at(-1)
    resumed = pretrain(recipe, tmp_path / "broken", resume=True)
    assert resumed.metrics["training"]["resumed_at_step"] == (9 if every_steps == 3 else 7)
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert without_times(resumed.metrics["epochs"]) == without_times(whole.metrics["epochs"])
    again = pretrain(recipe, tmp_path / "broken", resume=True)
    assert again.metrics == resumed.metrics


def test_resume_with_other_sentences_is_rejected(
    tiny_pretrain_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None], scenes_folder: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(scenes_folder / "annotations", data / "annotations")
    recipe = tiny_pretrain_recipe(data={"directory": str(data)})
    interrupt_at(11)
    with pytest.raises(Interrupted):
        pretrain(recipe, out)
    interrupt_at(-1)
    path = data / "annotations/captions_train.json"
    kept = path.read_text()
    values = json.loads(kept)
    values["annotations"][3]["caption"] += " Truly."
    path.write_text(json.dumps(values))
    with pytest.raises(
        ConfigurationError, match=r"with these: they differ in the training sentences; restore"
    ):
        pretrain(recipe, out, resume=True)
    path.write_text(kept)
    # Runs from before this was noted go on.
    (out / "checkpoints" / "data.json").unlink()
    assert pretrain(recipe, out, resume=True).metrics["training"]["resumed_at_step"] == 7


def test_loader_processes_change_nothing(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    short = {"epochs": 0.5}
    pretrain(tiny_pretrain_recipe(optimisation=short), tmp_path / "none")
    pretrain(tiny_pretrain_recipe(optimisation=short | {"loader_processes": 2}), tmp_path / "two")
    assert_same_weights(weights(tmp_path / "none"), weights(tmp_path / "two"))


def test_accumulated_batches_give_losses_and_weights_of_one_big_batch(
    tiny_pretrain_recipe: Make, tmp_path: Path
) -> None:
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = {"config": tiny_pretrain_recipe().model.config | no_dropout}
    one = tiny_pretrain_recipe(model=model, optimisation={"batch_size": 24})
    three = tiny_pretrain_recipe(model=model, optimisation={"batch_size": 8, "accumulation_steps": 3})
    big, small = pretrain(one, tmp_path / "one"), pretrain(three, tmp_path / "three")
    losses = [[epoch["train"]["loss"] for epoch in run.metrics["epochs"]] for run in (big, small)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    found, expected = weights(tmp_path / "three"), weights(tmp_path / "one")
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-5)


def test_question_loss_starts_at_qa_from(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    recipe = tiny_pretrain_recipe(
        tasks={"qa_from": 0.5}, saving={"log_every_steps": 1}, optimisation={"epochs": 4}
    )
    pretrain(recipe, tmp_path / "out")
    checkpoint = max((tmp_path / "out" / "checkpoints").glob("checkpoint-*"))
    log = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    with_questions = {entry["step"] for entry in log if "loss_qa" in entry}
    last = max(entry["step"] for entry in log)
    # The step that follows the 14th of 28 is the first with questions.
    assert with_questions == set(range(15, last + 1))
    assert all("eval_loss_qa" in entry for entry in log if "eval_loss" in entry)


def test_bert_adam_and_adamw_give_different_weights(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    short = {"epochs": 0.5}
    pretrain(tiny_pretrain_recipe(optimisation=short), tmp_path / "adamw")
    pretrain(tiny_pretrain_recipe(optimisation=short | {"optimizer": "bert_adam"}), tmp_path / "bert")
    one, other = weights(tmp_path / "adamw"), weights(tmp_path / "bert")
    assert not torch.equal(
        one["lxmert.encoder.visn_fc.visn_fc.weight"], other["lxmert.encoder.visn_fc.visn_fc.weight"]
    )


def test_early_stopping_ends_run_without_improvement_also_after_resume(
    tiny_pretrain_recipe: Make, tmp_path: Path
) -> None:
    recipe = tiny_pretrain_recipe(
        # Steps this small change no weight.
        optimisation={"epochs": 6, "peak_learning_rate": 1e-30, "weight_decay": 0.0},
        saving={"patience": 2},
    )
    metrics = pretrain(recipe, tmp_path / "out").metrics
    losses = [epoch["validation"]["loss"] for epoch in metrics["epochs"]]
    assert len(losses) == 3
    assert metrics["validation"]["loss"] == min(losses)

    # Killed between its last checkpoint and its weights, and moved, it is at its end all the same.
    before = weights(tmp_path / "out")
    for name in ("metrics.json", "model.safetensors"):
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    resumed = pretrain(recipe, tmp_path / "moved", resume=True)
    assert without_times(resumed.metrics["epochs"]) == without_times(metrics["epochs"])
    assert resumed.metrics["training"]["steps"] == metrics["training"]["steps"]
    after = weights(tmp_path / "moved")
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_moved_folder_resumes_with_its_best_weights(
    tiny_pretrain_recipe: Make, tmp_path: Path, interrupt_at: Callable[[int], None]
) -> None:
    # The first weights are the best, the second epoch spoils them.
    recipe = tiny_pretrain_recipe(
        optimisation={
            "peak_learning_rate": 3.0,
            "epochs": 3,
            "warmup": 40,
            "schedule": "constant_with_warmup",
        }
    )
    whole = pretrain(recipe, tmp_path / "whole")
    interrupt_at(16)
    with pytest.raises(Interrupted):
        pretrain(recipe, tmp_path / "broken")
    interrupt_at(-1)
    (tmp_path / "broken").rename(tmp_path / "moved")
    resumed = pretrain(recipe, tmp_path / "moved", resume=True)
    assert resumed.metrics["training"]["resumed_at_step"] == 14
    losses = [epoch["validation"]["loss"] for epoch in whole.metrics["epochs"]]
    assert losses[0] == min(losses)
    assert whole.validation_loss == resumed.validation_loss == losses[0]
    assert_same_weights(weights(tmp_path / "whole"), weights(tmp_path / "moved"))


def test_training_goes_on_from_a_folder_with_another_set_of_tasks(
    tiny_pretrain_recipe: Make, tiny_pretraining: dict[str, Any], tmp_path: Path
) -> None:
    first = tiny_pretrain_recipe(tasks={"qa": 0.0}, optimisation={"epochs": 0.2})
    pretrain(first, tmp_path / "first")
    assert not (tmp_path / "first" / "answers.json").exists()
    tiny_pretraining["model"] = {"from_pretrained": str(tmp_path / "first")}
    negligible_updates = {"epochs": 0.2, "peak_learning_rate": 1e-12, "weight_decay": 0.0}
    second = pretrain(tiny_pretrain_recipe(optimisation=negligible_updates), tmp_path / "second")
    assert second.metrics["data"]["begun_anew"] == ["answer_head", "place_predict_head"]
    assert second.metrics["data"]["answers_carried_over"] == 0
    old, new = weights(tmp_path / "first"), weights(tmp_path / "second")
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, rtol=0, atol=1e-8)


def test_continued_pretraining_without_qa_keeps_answer_list(
    tiny_pretrain_recipe: Make, tiny_pretraining: dict[str, Any], tmp_path: Path
) -> None:
    pretrain(tiny_pretrain_recipe(optimisation={"epochs": 0.2}), tmp_path / "first")
    tiny_pretraining["model"] = {"from_pretrained": str(tmp_path / "first")}
    further = tiny_pretrain_recipe(tasks={"qa": 0.0}, optimisation={"epochs": 0.2})
    pretrain(further, tmp_path / "second")
    answers = [(tmp_path / name / "answers.json").read_text() for name in ("first", "second")]
    assert answers[0] == answers[1]


def test_new_model_starts_from_bert_and_its_vocabulary(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    words = scene_vocabulary()
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    sizes = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    bert = BertForPreTraining(BertConfig(vocab_size=len(words), num_hidden_layers=2, **sizes))
    bert.save_pretrained(tmp_path / "bert")
    model = {"bert": str(tmp_path / "bert"), "vocabulary": None}
    negligible_updates = {"epochs": 0.2, "peak_learning_rate": 1e-12, "weight_decay": 0.0}
    result = pretrain(tiny_pretrain_recipe(model=model, optimisation=negligible_updates), tmp_path / "out")
    assert result.metrics["data"]["started_from_bert"] == str(tmp_path / "bert")
    # Five of the embeddings, sixteen of the one layer, the pooler's two, seven of the heads.
    assert result.metrics["data"]["tensors_from_bert"] == 30
    for name in ("embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.weight"):
        found = weights(tmp_path / "out")[f"lxmert.{name}"]
        torch.testing.assert_close(found, bert.state_dict()[f"bert.{name}"], rtol=0, atol=1e-8)


def test_extractor_of_another_name_is_rejected(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    other = {"kind": "given_boxes", "encoder": {"kind": "pooled_pixels", "size": 2}}
    with pytest.raises(DataError, match="was made by test/9, expected given-boxes/pooled-pixels-2"):
        pretrain(tiny_pretrain_recipe(data={"extractor": other}), tmp_path / "out")


def test_object_tasks_without_object_layers_are_rejected(
    tiny_pretrain_recipe: Make, tiny_pretraining: dict[str, Any], tmp_path: Path
) -> None:
    model = {"config": tiny_pretraining["model"]["config"] | {"x_layers": 0, "r_layers": 0}}
    words = dict.fromkeys(ALL_TASKS, 0.0) | {"masked_words": 1.0}
    for task in ("place_weight", "object_labels"):
        with pytest.raises(ConfigurationError, match="needs a layer that processes objects"):
            pretrain(tiny_pretrain_recipe(model=model, tasks=words | {task: 1.0}), tmp_path / task)
    recipe = tiny_pretrain_recipe(model=model, tasks=words, optimisation={"epochs": 1})
    assert pretrain(recipe, tmp_path / "words").metrics["finished"]


def test_too_few_sentences_for_one_update_are_rejected(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"225 training sentences do not fill one update of 256"):
        pretrain(tiny_pretrain_recipe(optimisation={"batch_size": 256}), tmp_path / "out")


def test_data_without_targets_for_a_task_are_rejected(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    """Else each validation would have the loss 0, and the weights of the first one would be kept."""
    questions = tiny_pretrain_recipe().data.train.model_dump()
    captions = questions | {"sources": questions["sources"][:1]}
    only_qa = dict.fromkeys(ALL_TASKS, 0.0) | {"qa": 1.0}
    recipe = tiny_pretrain_recipe(data={"validation": captions}, tasks=only_qa)
    with pytest.raises(DataError, match=r"the \d+ validation sentences have no target for the tasks"):
        pretrain(recipe, tmp_path / "a")
    with pytest.raises(DataError, match=r"no training sentence is a question .* tasks\.qa to 0"):
        pretrain(tiny_pretrain_recipe(data={"train": captions}), tmp_path / "b")
    with pytest.raises(VocabularyError, match="no question has an answer"):
        pretrain(
            tiny_pretrain_recipe(data={"train": captions, "answers": {"source": "annotations"}}),
            tmp_path / "c",
        )


@pytest.mark.parametrize("in_memory_gib", [0.0, 1.0])
def test_validation_images_may_have_classes_that_no_training_image_has(
    tiny_pretrain_recipe: Make, tmp_path: Path, in_memory_gib: float
) -> None:
    """As rare ones of the 1,600, where a few images are trained on and the store does not name classes."""
    box = torch.tensor([[0.0, 0.0, 5.0, 5.0]])
    with FeatureStoreWriter(tmp_path / "store", StoreManifest(3, "float32", "test/3")) as writer:
        for name, number in (("a", 0), ("b", 1), ("c", 6), ("d", 2)):
            ids = torch.tensor([number])
            writer.add(name, Regions(box, torch.ones(1, 3), (9, 9), "test/3", ids, None, 2 * ids))
    sources = {}
    for split, names in (("train", "ab"), ("val", "cd")):
        lines = [json.dumps({"image": name, "sentence": f"See {name}."}) for name in names]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
        sources[split] = {"sources": [{"kind": "jsonl", "file": f"{split}.jsonl"}]}
    recipe = tiny_pretrain_recipe(
        data={
            "directory": str(tmp_path),
            "features": str(tmp_path / "store"),
            "train": sources["train"],
            "validation": sources["val"],
            "in_memory_gib": in_memory_gib,
        },
        tasks={"qa": 0.0, "feature_regression": 0.0},
        optimisation={"batch_size": 2, "epochs": 1},
    )
    tasks = pretrain(recipe, tmp_path / "out").metrics["validation"]["tasks"]
    assert {"object_labels", "attribute_labels"} <= tasks.keys()
    config = LxmertForPreTraining.from_pretrained(tmp_path / "out").config
    assert (config.num_object_labels, config.num_attr_labels) == (7, 13)


def test_half_precision_keeps_weights_and_losses(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    short = {"epochs": 0.5, "precision": "bfloat16"}
    exact = pretrain(tiny_pretrain_recipe(optimisation=short | {"precision": "float32"}), tmp_path / "exact")
    half = pretrain(tiny_pretrain_recipe(optimisation=short), tmp_path / "half")
    assert half.validation_loss == pytest.approx(exact.validation_loss, rel=0.02)
    assert {tensor.dtype for tensor in weights(tmp_path / "half").values()} == {torch.float32}


def test_resume_with_another_recipe_is_rejected(tiny_pretrain_recipe: Make, tmp_path: Path) -> None:
    pretrain(tiny_pretrain_recipe(optimisation={"epochs": 0.2}), tmp_path / "out")
    with pytest.raises(ConfigurationError, match=r"tasks\.qa: 2\.0 here, 1\.0 there"):
        pretrain(
            tiny_pretrain_recipe(optimisation={"epochs": 0.2}, tasks={"qa": 2.0}),
            tmp_path / "out",
            resume=True,
        )
