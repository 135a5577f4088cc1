"""Models quantized by Keras: scores stay close; saving and resizing raise WeightsError."""

import gc
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import lxmert  # noqa: E402
from lxmert.errors import WeightsError  # noqa: E402
from tests.model.small import small_config  # noqa: E402
from tests.model_keras.model_classes import batch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")


def quantized(tie: bool = True) -> tuple[dict[str, np.ndarray], lxmert.TFLxmertForPreTraining]:
    """The scores of a model, and the model, quantized since."""
    model = lxmert.TFLxmertForPreTraining(small_config(l_layers=1, x_layers=1, tie_word_embeddings=tie))
    scores = {name: keras.ops.convert_to_numpy(value) for name, value in model(batch("")).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda: 0)  # Keras does so for every layer: half a second each.
        model.quantize("int8")
    return scores, model


@pytest.mark.parametrize("tie", [True, False])
def test_int8_quantized_scores_stay_close(tie: bool) -> None:
    scores, model = quantized(tie)
    assert model.lxmert.embeddings.word_embeddings.quantization_mode == "int8"
    for name, value in model(batch("")).items():
        spread = np.abs(scores[name]).max()
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(value), scores[name], atol=0.05 * spread, err_msg=name
        )


def test_saving_or_resizing_quantized_model_raises_weights_error(tmp_path: Path) -> None:
    _, model = quantized()
    for act in (
        lambda: model.save_pretrained(tmp_path / "folder"),
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.resize_token_embeddings(70),
        lambda: model.resize_num_qa_labels(20),
    ):
        with pytest.raises(WeightsError, match=r"do that before quantize\(\)"):
            act()
    assert model.config.vocab_size == small_config().vocab_size
    assert not any(tmp_path.iterdir())
