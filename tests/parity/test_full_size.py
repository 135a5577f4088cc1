"""Models of the published size (9, 5 and 5 layers, 768 wide) equal those of transformers."""

import pytest
import torch
import transformers

import lxmert


@pytest.mark.slow
def test_published_size_gives_same_outputs_as_transformers() -> None:
    peer = transformers.LxmertForPreTraining(transformers.LxmertConfig()).eval()
    with torch.device("meta"):
        ours = lxmert.LxmertForPreTraining(lxmert.LxmertConfig())
    ours.load_state_dict(peer.state_dict(), strict=True, assign=True)
    ours.tie_weights()
    ours.eval()
    inputs = {
        "input_ids": torch.randint(1, 30522, (2, 20)),
        "attention_mask": torch.tensor([[1] * 20, [1] * 11 + [0] * 9]),
        "visual_feats": torch.randn(2, 36, 2048).relu(),
        "visual_pos": torch.rand(2, 36, 4),
    }
    with torch.no_grad():
        mine, theirs = ours(**inputs, output_hidden_states=True), peer(**inputs, output_hidden_states=True)
    assert sum(parameter.numel() for parameter in ours.parameters()) == sum(
        p.numel() for p in peer.parameters()
    )
    for name in ("prediction_logits", "cross_relationship_score", "question_answering_score"):
        torch.testing.assert_close(mine[name], theirs[name], atol=1e-5, rtol=1e-5)
    for name, layers in (("language_hidden_states", 14), ("vision_hidden_states", 10)):
        assert len(mine[name]) == layers
        torch.testing.assert_close(mine[name][-1], theirs[name][-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("answers", "weights"),
    [(3129, 5_993_529), (1842, 4_015_410), (9500, 15_785_756)],
    ids=["vqa", "gqa", "all"],
)
def test_answer_head_has_parameter_count_of_original_code(answers: int, weights: int) -> None:
    with torch.device("meta"):
        model = lxmert.LxmertForQuestionAnswering(lxmert.LxmertConfig(num_qa_labels=answers, l_layers=0))
    assert sum(weight.numel() for weight in model.answer_head.parameters()) == weights
