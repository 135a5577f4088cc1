"""Backend-independent tests, run again under JAX and PyTorch, each in a process of its own."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = "tests/model_keras"
CHOSEN = (
    "test_parity.py::test_pretraining_outputs_and_gradients_equal_pytorch[1]",
    "test_parity.py::test_question_answering_outputs_and_gradients_equal_pytorch[0]",
    "test_parity.py::test_visual_reasoning_outputs_and_gradients_equal_pytorch[3]",
    "test_losses.py",
    "test_outputs.py",
    "test_training.py::test_pretraining_fits_evaluates_and_predicts_with_own_loss",
    "test_training.py::test_dropout_acts_in_training_only",
    "test_training.py::test_model_with_return_dict_false_config_trains[False]",
    "test_keras_files.py::test_training_resumes_from_keras_file_with_same_results",
    "test_keras_files.py::test_keras_model_containing_lxmert_round_trips_through_keras_file",
    "test_inputs.py::test_invalid_input_raises_tensor_error",
    "test_inputs.py::test_fit_evaluate_and_predict_raise_tensor_error_before_compilation",
    "test_checked_data.py",
    "test_object_states.py::test_pooled_only_equals_pytorch_and_full_model[2]",
    "test_object_states.py::test_object_states_give_same_answer_scores_as_pytorch",
    "test_object_states.py::test_object_states_of_image_pairs_give_same_scores_as_pytorch",
    "test_loading.py::test_pytorch_folder_round_trips_through_keras_model",
    "test_inputs.py::test_functional_model_from_symbolic_inputs_gives_same_outputs",
    "test_resizing.py::test_resized_model_trains_like_reloaded_one",
    "test_derived_classes.py::test_user_defined_head_round_trips_through_model_folder",
    "test_derived_classes.py::test_loss_returned_by_overridden_call_is_trained[True]",
    "test_derived_classes.py::test_overridden_call_with_one_inputs_argument_trains_with_compiled_loss",
    "test_derived_classes.py::test_interrupted_first_step_keeps_variables_of_user_layers",
    "test_derived_classes.py::test_overridden_build_runs_on_first_call_and_after_loading",
    "test_old_bugs.py::test_labels_work_in_mixed_precision",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif("LXMERT_KERAS_BACKEND" in os.environ, reason="this is the run on another backend")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_chosen_tests_pass_on_other_backend(backend: str) -> None:
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
