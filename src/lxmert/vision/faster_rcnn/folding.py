"""The detector optimised for inference: the same results in less time and memory.

Batch normalisation is folded into the preceding convolution. Activations are stored channels-last, so that a
1×1 convolution, three quarters of the multiplications of a residual block, is one matrix product over all
cells, which is twice as fast as the general convolution.

Shapes: B images or RoIs, h and w rows and columns of cells, C channels, D features.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lxmert.vision.faster_rcnn.backbone import Backbone, Bottleneck, NormedConvolution, Stem
from lxmert.vision.faster_rcnn.heads import BoxPredictor, RoiHeads
from lxmert.vision.faster_rcnn.modeling import FasterRcnn


def fold_detector(detector: FasterRcnn, roi_dtype: torch.dtype = torch.float32) -> FasterRcnn:
    """Fold a detector for inference, in place.

    Residual blocks are replaced one by one, so that the weights of at most one block exist twice.

    Args:
        detector: modified; afterwards it cannot be trained or saved.
        roi_dtype: dtype of the weights and activations of res5, nine tenths of the work. The rest is float32:
            rounding there would change which boxes are found, not only their features and labels.

    Returns:
        The same object. Its inputs and outputs are float32.
    """
    detector.requires_grad_(False).float()
    detector.register_module("backbone", FoldedBackbone(detector.backbone))
    detector.register_module("roi_heads", FoldedRoiHeads(detector.roi_heads, roi_dtype))
    head = detector.proposal_generator.rpn_head
    head.conv.weight.data = head.conv.weight.data.contiguous(memory_format=torch.channels_last)
    return detector.eval()


class FoldedBackbone(nn.Module):
    """A `Backbone` for inference.

    Args:
        backbone: its stages are emptied.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.stem = FoldedStem(backbone.stem)
        stages = (backbone.res2, backbone.res3, backbone.res4)
        self.blocks = nn.Sequential(*(block for stage in stages for block in _fold_stage(stage)))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w), in channels_last memory format."""
        cells: Tensor = self.blocks(self.stem(pixel_values))  # (B, h, w, C)
        return cells.permute(0, 3, 1, 2)


class FoldedRoiHeads(nn.Module):
    """`RoiHeads` for inference.

    Args:
        heads: their res5 is emptied.
        dtype: dtype of res5's weights and activations.
    """

    def __init__(self, heads: RoiHeads, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.res5 = nn.Sequential(*_fold_stage(heads.res5, dtype))
        self.box_predictor: BoxPredictor = heads.box_predictor

    def encode(self, pooled: Tensor) -> Tensor:
        """Pooled RoIs (R, C, P, P) -> features (R, D) float32, non-negative."""
        cells: Tensor = self.res5(pooled.to(self.dtype).permute(0, 2, 3, 1))  # (R, P, P, D)
        return cells.flatten(1, 2).mean(dim=1, dtype=torch.float32)


class FoldedStem(nn.Module):
    """A `Stem` for inference."""

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        self.conv1 = SpatialConvolution(stem.conv1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, h, w, C), about a quarter of the height and width."""
        hidden = self.conv1(pixel_values.permute(0, 2, 3, 1)).relu_().permute(0, 3, 1, 2)
        pooled = F.max_pool2d(hidden, kernel_size=3, stride=2, padding=0, ceil_mode=True)
        return pooled.permute(0, 2, 3, 1)


class FoldedBottleneck(nn.Module):
    """A `Bottleneck` for inference, channels last."""

    def __init__(self, block: Bottleneck, dtype: torch.dtype) -> None:
        super().__init__()
        self.shortcut = None if block.shortcut is None else PointwiseConvolution(block.shortcut, dtype)
        self.conv1 = PointwiseConvolution(block.conv1, dtype)
        self.conv2 = SpatialConvolution(block.conv2, dtype)
        self.conv3 = PointwiseConvolution(block.conv3, dtype)

    def forward(self, cells: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h / stride, w / stride, C')."""
        hidden = self.conv1(cells).relu_()
        hidden = self.conv2(hidden).relu_()
        residual = cells if self.shortcut is None else self.shortcut(cells)
        return self.conv3(hidden).add_(residual).relu_()


class PointwiseConvolution(nn.Module):
    """A 1×1 convolution with folded normalisation, as one matrix product over all cells."""

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: NormedConvolution, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        weight, bias = folded_parameters(convolution)
        self.stride = convolution.stride[0]
        self.register_buffer("weight", weight.flatten(1).T.to(dtype))  # (C, C')
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, cells: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h / stride, w / stride, C')."""
        if self.stride > 1:
            cells = cells[:, :: self.stride, :: self.stride]
        products = torch.addmm(self.bias, cells.reshape(-1, cells.shape[3]), self.weight)
        return products.view(*cells.shape[:3], -1)


class SpatialConvolution(nn.Module):
    """A convolution of any kernel size with folded normalisation."""

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: NormedConvolution, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        weight, bias = folded_parameters(convolution)
        self.geometry = {
            name: getattr(convolution, name) for name in ("stride", "padding", "dilation", "groups")
        }
        self.register_buffer("weight", weight.to(dtype, memory_format=torch.channels_last))
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, cells: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h / stride, w / stride, C')."""
        convolved = F.conv2d(cells.permute(0, 3, 1, 2), self.weight, self.bias, **self.geometry)
        return convolved.permute(0, 2, 3, 1)


def folded_parameters(convolution: NormedConvolution) -> tuple[Tensor, Tensor]:
    """Fold batch normalisation into its convolution: weight (C', C / groups, k, k) and bias (C',).

    Computed in double precision and rounded once to float32.
    """
    norm = convolution.norm
    mean, variance = (norm.get_buffer(f"running_{name}").double() for name in ("mean", "var"))
    scale = norm.weight.double() * (variance + norm.eps).rsqrt()  # (C',)
    weight = convolution.weight.double() * scale[:, None, None, None]
    bias = norm.bias.double() - mean * scale
    return weight.float(), bias.float()


def _fold_stage(stage: nn.Module, dtype: torch.dtype = torch.float32) -> Iterator[FoldedBottleneck]:
    """Fold the blocks of a stage, removing each from the stage so that its weights are freed immediately."""
    if not isinstance(stage, nn.Sequential):  # res4 is an identity if features are taken from res3
        return
    while len(stage):
        yield FoldedBottleneck(cast(Bottleneck, stage.pop(0)), dtype)
