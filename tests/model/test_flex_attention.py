"""FlexAttention, compiled, equals eager attention, padding included."""

import shutil

import pytest
import torch

from lxmert import LxmertConfig, LxmertForQuestionAnswering


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for the CPU needs a C++ compiler")
def test_flex_attention_computes_what_eager_computes() -> None:
    config = LxmertConfig(
        vocab_size=50,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=48,
        l_layers=1,
        x_layers=1,
        r_layers=1,
        visual_feat_dim=8,
        num_qa_labels=6,
    )
    model = LxmertForQuestionAnswering(config).eval()
    inputs = {
        "input_ids": torch.randint(5, 50, (3, 7)),
        "attention_mask": torch.tensor([[1] * 7, [1] * 5 + [0] * 2, [1] * 6 + [0]]),
        "visual_feats": torch.rand(3, 5, 8),
        "visual_pos": torch.rand(3, 5, 4),
        "visual_attention_mask": torch.tensor([[1] * 5, [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]),
    }
    scores = {}
    with torch.no_grad():
        for name in ("eager", "flex_attention"):
            model.set_attn_implementation(name)
            scores[name] = model(**inputs).question_answering_score
    torch.testing.assert_close(scores["flex_attention"], scores["eager"], atol=1e-5, rtol=1e-5)
