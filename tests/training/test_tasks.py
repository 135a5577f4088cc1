"""Fine-tuning on GQA and NLVR2, and `lxmert eval`, `predict` and `score` with the resulting models."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from lxmert import LxmertConfig, LxmertForPreTraining, LxmertForVisualReasoning, LxmertProcessor
from lxmert.data.gqa import read_gqa
from lxmert.data.nlvr2 import read_nlvr2
from lxmert.errors import ConfigurationError, DataError, IncompleteWeightsError
from lxmert.training.cpu.encoder import PackedEncoder
from lxmert.training.evaluation import evaluate_model
from lxmert.training.finetuning import finetune
from lxmert.training.metrics.gqa import gqa_scores
from lxmert.training.metrics.nlvr2 import nlvr2_scores
from lxmert.training.object_prediction import PairsWithObjectPrediction
from lxmert.training.preparation import prepare_task
from lxmert.training.recipe import FinetuneRecipe
from lxmert.training.task_registry import get_task, task_of_model
from tests.command_line import exit_status

Make = Callable[..., FinetuneRecipe]


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def recipe_values(task: str, tiny_values: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {**tiny_values, "task": task}
    if task == "nlvr2":
        values["data"] = {name: one for name, one in values["data"].items() if name != "answers"}
        values["data"] |= {"train_images": 30, "validation_images": None}
        values["optimisation"] = {**values["optimisation"], "loss": None}
        del values["optimisation"]["loss"]
    return values


@pytest.fixture(params=["gqa", "nlvr2"])
def finished_run(
    request: pytest.FixtureRequest, runs_folder: Path, tiny_values: dict[str, Any]
) -> tuple[str, Path]:
    """The task and the folder of a finished run, made once."""
    folder = runs_folder / request.param
    if not folder.exists():
        finetune(FinetuneRecipe.from_dict(recipe_values(request.param, tiny_values)), folder)
    return request.param, folder


def test_finished_run_has_model_of_its_task_and_all_metrics(finished_run: tuple[str, Path]) -> None:
    task, folder = finished_run
    metrics = json.loads((folder / "metrics.json").read_text())
    assert task_of_model(str(folder), folder).name == task
    families = {
        "gqa": {"binary", "open", "consistency", "validity", "plausibility", "distribution"},
        "nlvr2": {"consistency", "predicted True"},
    }[task]
    assert len(metrics["epochs"]) == 2
    for epoch in metrics["epochs"]:
        # Cut to three images, the entailed questions are all there: each is about the same image.
        assert set(epoch["validation_accuracy_per_family"]) == families
    kept = max(epoch["validation_accuracy"] for epoch in metrics["epochs"])
    assert metrics["validation_accuracy"] == kept
    assert metrics["test"]["score"] >= 0
    processor = LxmertProcessor.from_pretrained(folder)
    assert processor.answers is not None
    if task == "nlvr2":
        assert processor.answers == ["False", "True"]
        assert metrics["data"]["train_images"] == 30


def test_scores_of_predictions_file_equal_eval_results(
    finished_run: tuple[str, Path], scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, folder = finished_run
    # Predicting needs no annotations; the questions lie elsewhere, without answers.
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "annotations").mkdir(parents=True)
    (elsewhere / "images").symlink_to(scenes_folder / "images")
    annotations = scenes_folder / "annotations"
    shutil.copy(annotations / "instances_test.json", elsewhere / "annotations")
    name = {"gqa": "gqa_test_questions.json", "nlvr2": "nlvr2_test.json"}[task]
    text = (annotations / name).read_text()
    if task == "gqa":
        kept = ("question", "imageId")
        bare = {key: {part: one[part] for part in kept} for key, one in json.loads(text).items()}
        (elsewhere / "annotations" / name).write_text(json.dumps(bare))
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        kept = ("identifier", "sentence", "left_url", "right_url")
        (elsewhere / "annotations" / name).write_text(
            "\n".join(json.dumps({part: one[part] for part in kept}) for one in lines)
        )

    output = tmp_path / "predictions"
    assert exit_status("predict", str(folder), str(elsewhere), "-o", str(output), "-q") == 0
    assert f"{output}: " in capsys.readouterr().out
    assert exit_status("eval", str(folder), str(scenes_folder), "--json") == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated == json.loads((folder / "metrics.json").read_text())["test"] | {"dtype": "float32"}

    if task == "gqa":
        predictions = {row["questionId"]: row["prediction"] for row in json.loads(output.read_text())}
        figures = gqa_scores(predictions, read_gqa(annotations / name))
        assert (evaluated["accuracy"], evaluated["consistency"]) == (figures.accuracy, figures.consistency)
        choices = ["--choices", str(annotations / "gqa_test_choices.json")]
    else:
        predictions = dict(line.split(",") for line in output.read_text().splitlines())
        figures = nlvr2_scores(predictions, read_nlvr2(annotations / name))
        assert (evaluated["accuracy"], evaluated["consistency"]) == (figures.accuracy, figures.consistency)
        choices = []
    words = ["score", task, "--predictions", str(output), "--annotations", str(annotations / name)]
    assert exit_status(*words, *choices, "--json") == 0
    scored = json.loads(capsys.readouterr().out)
    assert {key: value for key, value in scored.items() if key in evaluated} == {
        key: value for key, value in evaluated.items() if key in scored
    }
    assert exit_status("validate-submission", task, str(output), "--questions", str(annotations / name)) == 0


def test_training_lowers_the_loss(finished_run: tuple[str, Path], tiny_values: dict[str, Any]) -> None:
    task, _ = finished_run
    values = recipe_values(task, tiny_values)
    values["optimisation"] |= {"epochs": 4, "peak_learning_rate": 1e-2}
    values["data"] |= {"test_split": None}
    prepared = prepare_task(get_task(task), FinetuneRecipe.from_dict(values))
    batch = prepared.collate_train([prepared.train[n] for n in range(8)])
    optimizer = torch.optim.Adam(prepared.model.parameters(), 3e-3)
    prepared.model.eval()  # without dropout
    losses = []
    for _ in range(100):
        loss = prepared.model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0], losses


def test_object_prediction_works_for_pairs_and_is_not_saved(
    tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    values = recipe_values("nlvr2", tiny_values)
    values["optimisation"] |= {"epochs": 1, "object_prediction": True, "place_weight": 1.0}
    recipe = FinetuneRecipe.from_dict(values)
    prepared = prepare_task(get_task("nlvr2"), recipe)
    assert isinstance(prepared.model, PairsWithObjectPrediction)
    assert torch.accelerator.is_available() or isinstance(prepared.model.lxmert.encoder, PackedEncoder)
    batch = prepared.collate_train([prepared.train[n] for n in (0, 4, 9)])
    losses = prepared.model(**batch).losses
    assert set(losses) == {"pair", "obj", "attr", "place"}
    # The mean runs over the objects of both images of every example.
    model = prepared.model.eval()
    plain = {name: value for name, value in batch.items() if name != "obj_labels"}
    output = LxmertForVisualReasoning.forward(model, **plain, output_hidden_states=True)
    states = output.vision_hidden_states[-1]
    scores = model.obj_predict_head(states)["obj"].log_softmax(dim=2)
    wanted, real = batch["obj_labels"]["obj"][0], batch["visual_attention_mask"]
    by_hand = [
        -scores[2 * row + side, place, wanted[row, side, place]]
        for row, side, place in real.nonzero().tolist()
    ]
    expected = torch.stack(by_hand).mean() * model.config.visual_loss_normalizer
    assert model(**batch).losses["obj"].item() == pytest.approx(expected.item(), rel=1e-5)
    finetune(recipe, tmp_path / "out")
    names = load_file(tmp_path / "out" / "model.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"lxmert", "pair_head"}
    LxmertForVisualReasoning.from_pretrained(tmp_path / "out")


@pytest.fixture
def pretrained(finished_run: tuple[str, Path], tmp_path: Path) -> Path:
    """A pre-trained model with answers spelled as the pre-training table spells them."""
    _, folder = finished_run
    config = json.loads((folder / "config.json").read_text())
    processor = LxmertProcessor.from_pretrained(folder)
    sizes = (
        "vocab_size",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "l_layers",
        "x_layers",
        "r_layers",
        "visual_feat_dim",
        "max_position_embeddings",
    )
    kept = {key: config[key] for key in sizes}
    answers = ["2", "unheard of", "red", "gray"]
    model = LxmertForPreTraining(LxmertConfig(**kept, num_qa_labels=len(answers)))
    torch.nn.init.normal_(model.answer_head.logit_fc[3].bias)
    model.save_pretrained(tmp_path / "pretrained")
    LxmertProcessor(processor.tokenizer, processor.extractor, answers=answers).save_pretrained(
        tmp_path / "pretrained"
    )
    return tmp_path / "pretrained"


def test_finetuning_starts_from_weights_of_pretrained_model(
    finished_run: tuple[str, Path], pretrained: Path, tiny_values: dict[str, Any], tmp_path: Path
) -> None:
    task, _ = finished_run
    values = recipe_values(task, tiny_values)
    values["model"] = {"from_pretrained": str(pretrained)}
    if task == "gqa":
        (tmp_path / "answers.json").write_text(json.dumps(["grey", "two", "yes", "red"]))
        values["data"] |= {"answers": {"source": str(tmp_path / "answers.json")}}
    prepared = prepare_task(get_task(task), FinetuneRecipe.from_dict(values))
    old = load_file(pretrained / "model.safetensors")
    new = prepared.model.state_dict()
    for name, value in old.items():
        if name.startswith(("lxmert.", "answer_head.logit_fc.0", "answer_head.logit_fc.2")) and name in new:
            assert torch.equal(new[name], value), name
    assert any(name.startswith("lxmert.") for name in old)
    assert prepared.metadata["started_from"] == str(pretrained)
    if task == "gqa":
        row = old["answer_head.logit_fc.3.bias"]
        expected = torch.stack([row[3], row[0], row[0] * 0, row[2]])
        assert torch.equal(new["answer_head.logit_fc.3.bias"], expected)
        assert prepared.metadata["answers_carried_over"] == 3
    else:
        assert new["pair_head.logit_fc.3.weight"].std() > 0
        assert "answers_carried_over" not in prepared.metadata
    with pytest.raises(ConfigurationError, match="LxmertForPreTraining, which is not the model of a task"):
        task_of_model(str(pretrained), pretrained)


def test_task_of_model_is_known_from_published_name_or_architecture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LxmertForQuestionAnswering"]}')
    assert task_of_model("unc-nlp/lxmert-gqa-uncased", tmp_path).name == "gqa"
    assert task_of_model("unc-nlp/lxmert-vqa-uncased", tmp_path).name == "vqa"
    assert task_of_model("mine", tmp_path).name == "vqa"
    (tmp_path / "config.json").write_text('{"architectures": ["LxmertForVisualReasoning"]}')
    assert task_of_model("mine", tmp_path).name == "nlvr2"


def test_train_share_limits_training_examples(tiny_values: dict[str, Any]) -> None:
    values = recipe_values("gqa", tiny_values)
    whole = prepare_task(get_task("gqa"), FinetuneRecipe.from_dict(values))
    values["data"] = {**values["data"], "train_share": 0.25}
    part = prepare_task(get_task("gqa"), FinetuneRecipe.from_dict(values))
    assert len(part.train) == round(0.25 * len(whole.train))
    assert len(part.validation) == len(whole.validation)
    assert part.metadata["train_questions"] == len(part.train)


def test_commands_report_mismatched_task_output_and_layout(
    finished_run: tuple[str, Path],
    scenes_folder: Path,
    tiny_values: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task, folder = finished_run
    other = {"gqa": "nlvr2", "nlvr2": "gqa"}[task]
    recipe = FinetuneRecipe.from_dict(recipe_values(task, tiny_values))
    (tmp_path / "my.yaml").write_text(recipe.to_yaml())
    assert exit_status("finetune", other, "-c", str(tmp_path / "my.yaml")) == 1
    assert f"is a recipe for {task}, not for {other}" in capsys.readouterr().err
    # The other task's head is not there.
    assert exit_status("eval", str(folder), str(scenes_folder), "--task", other) == 1
    assert "partly random" in capsys.readouterr().err
    assert exit_status("predict", str(folder), str(scenes_folder), "-o", str(tmp_path)) == 1
    assert "cannot be written" in capsys.readouterr().err
    layout = {"gqa": "choices={split}_{part}.json", "nlvr2": "choices=null"}[task]
    assert exit_status("eval", str(folder), str(scenes_folder), "--files", layout) == 1
    assert re.search(r"--files: .*choices", capsys.readouterr().err)


def test_eval_reads_only_task_and_layout_from_saved_recipe(
    finished_run: tuple[str, Path], scenes_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, trained = finished_run
    folder, data = tmp_path / "old", tmp_path / "data"
    shutil.copytree(trained, folder)
    shutil.copytree(scenes_folder, data)
    (data / "annotations").rename(data / "moved")
    recipe = yaml.safe_load((folder / "recipe.resolved.yaml").read_text())
    # Without object_prediction it had no effect, and is refused in recipes now.
    recipe["optimisation"] |= {"place_weight": 0.3, "forgotten": 1}
    files = recipe["data"]["files"]
    files |= {key: name.replace("annotations/", "moved/") for key, name in files.items() if name}
    (folder / "recipe.resolved.yaml").write_text(yaml.safe_dump(recipe))
    assert exit_status("eval", str(folder), str(data), "--json") == 0
    assert json.loads(capsys.readouterr().out)["split"] == "test"
    files["instances"] = "{part}.json"
    (folder / "recipe.resolved.yaml").write_text(yaml.safe_dump(recipe))
    assert exit_status("eval", str(folder), str(data)) == 1
    assert re.search(r"resolved\.yaml: data\.files: .*instances contains \{part\}", capsys.readouterr().err)


def test_missing_split_raises_and_joined_splits_are_scored_completely(
    finished_run: tuple[str, Path], scenes_folder: Path
) -> None:
    task, folder = finished_run
    kind = get_task(task)
    model, processor = kind.model_class.from_pretrained(folder), LxmertProcessor.from_pretrained(folder)
    with pytest.raises(DataError, match="no such file"):
        evaluate_model(model, processor, scenes_folder, "dev", task=task)
    joined = evaluate_model(model, processor, scenes_folder, "val,test", task=task)
    counts = [
        len(evaluate_model(model, processor, scenes_folder, one, task=task).predictions)
        for one in ("val", "test")
    ]
    assert len(joined.predictions) == sum(counts)


def test_pretrained_model_with_incomplete_encoder_is_rejected(
    finished_run: tuple[str, Path], pretrained: Path, tiny_values: dict[str, Any]
) -> None:
    task, _ = finished_run
    weights = load_file(pretrained / "model.safetensors")
    del weights["lxmert.pooler.dense.weight"]
    save_file(weights, pretrained / "model.safetensors", metadata={"format": "pt"})
    values = recipe_values(task, tiny_values) | {"model": {"from_pretrained": str(pretrained)}}
    with pytest.raises(IncompleteWeightsError, match="partly random encoder"):
        prepare_task(get_task(task), FinetuneRecipe.from_dict(values))
