"""The tests that no backend owns, once more on the other backends, each in a process of its own."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = "tests/model_keras"
CHOSEN = (
    "test_parity.py::test_pretraining[1]",
    "test_parity.py::test_question_answering[0]",
    "test_parity.py::test_visual_reasoning[3]",
    "test_losses.py",
    "test_outputs.py",
    "test_training.py::test_pretraining_with_its_own_loss",
    "test_training.py::test_dropout_acts_in_training_only",
    "test_training.py::test_a_configuration_that_asks_for_tuples_does_not_hinder_training[False]",
    "test_keras_files.py::test_training_goes_on_from_a_keras_file_as_if_never_interrupted",
    "test_keras_files.py::test_a_model_that_holds_ours_is_given_back_whole",
    "test_inputs.py::test_wrong_inputs_are_refused_as_in_pytorch",
    "test_inputs.py::test_fit_refuses_wrong_arrays_before_it_compiles",
    "test_checked_data.py",
    "test_object_states.py::test_the_pooled_state_alone[2]",
    "test_object_states.py::test_questions_about_objects_encoded_once",
    "test_object_states.py::test_pairs_of_images_encoded_once",
    "test_loading.py::test_a_folder_of_pytorch_gives_the_same_model_and_back",
    "test_inputs.py::test_functional_models_from_symbolic_inputs",
    "test_resizing.py::test_a_resized_model_learns_as_one_that_was_made_so",
    "test_derived_classes.py::test_a_head_of_ones_own_goes_through_a_model_folder",
    "test_derived_classes.py::test_a_loss_in_the_call_of_ones_own_class_is_learnt[True]",
    "test_derived_classes.py::test_inputs_come_as_they_are_to_a_call_without_names",
    "test_derived_classes.py::test_a_first_step_that_fails_loses_no_variable_of_layers_added",
    "test_derived_classes.py::test_a_build_of_ones_own_runs_when_the_model_does",
    "test_old_bugs.py::test_labels_work_in_mixed_precision",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif("LXMERT_KERAS_BACKEND" in os.environ, reason="this is the run on another backend")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_another_backend(backend: str) -> None:
    pytest.importorskip(backend)
    if find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    environment = os.environ | {
        "LXMERT_KERAS_BACKEND": backend,
        "KERAS_BACKEND": backend,
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # XLA would work longer on the tests than the tests do
        "JAX_PLATFORMS": "cpu",
    }
    tests = [f"{FOLDER}/{chosen}" for chosen in CHOSEN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout.splitlines()[-1]
