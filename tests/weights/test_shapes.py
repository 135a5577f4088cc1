import itertools
from typing import Any

import pytest
import transformers

from lxmert import LxmertConfig
from lxmert.weights.names import Architecture
from lxmert.weights.shapes import infer_sizes, parameter_shapes
from tests.weights.originals import TINY

VARIANTS: list[dict[str, Any]] = [
    {},
    {"l_layers": 0, "r_layers": 1},
    {"x_layers": 0, "intermediate_size": 9},
    {"l_layers": 0, "x_layers": 0, "visual_pos_dim": 7},
    {"task_qa": False, "type_vocab_size": 3},
    {"task_obj_predict": False},
    {"visual_obj_loss": False},
    {"visual_attr_loss": False, "visual_feat_loss": False},
]
CASES = list(itertools.product(Architecture, VARIANTS))


def transformers_shapes(architecture: Architecture, settings: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    is_pairs = architecture is Architecture.VISUAL_REASONING  # which transformers has no class for
    peer = transformers.LxmertModel if is_pairs else getattr(transformers, architecture.value)
    model = peer(transformers.LxmertConfig(**{**TINY, **settings}))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if not is_pairs:
        return shapes
    wide = 2 * TINY["hidden_size"]
    head = {"0.weight": (wide, wide), "0.bias": (wide,), "2.weight": (wide,), "2.bias": (wide,)}
    head |= {"3.weight": (2, wide), "3.bias": (2,)}
    encoder = {f"lxmert.{name}": shape for name, shape in shapes.items()}
    return encoder | {f"pair_head.logit_fc.{name}": shape for name, shape in head.items()}


@pytest.mark.parametrize(("architecture", "settings"), CASES)
def test_parameter_shapes_equal_those_of_transformers(
    architecture: Architecture, settings: dict[str, Any]
) -> None:
    listed = parameter_shapes(LxmertConfig(**{**TINY, **settings}), architecture)
    assert listed == transformers_shapes(architecture, settings)


@pytest.mark.parametrize(("architecture", "settings"), CASES)
def test_sizes_are_read_back_from_the_shapes(architecture: Architecture, settings: dict[str, Any]) -> None:
    shapes = transformers_shapes(architecture, settings)
    sizes = infer_sizes(shapes, architecture)
    assert parameter_shapes(LxmertConfig(**sizes, num_attention_heads=3), architecture) == shapes
    wanted = {**TINY, **settings}
    assert {name: wanted[name] for name in sizes if name in wanted} == {
        n: sizes[n] for n in sizes if n in wanted
    }
    assert {"vocab_size", "hidden_size", "l_layers", "x_layers", "r_layers", "visual_feat_dim"} <= set(sizes)


def test_sizes_whose_parameter_is_absent_are_left_out() -> None:
    assert infer_sizes({}, Architecture.ENCODER) == {"l_layers": 0, "x_layers": 0, "r_layers": 0}
