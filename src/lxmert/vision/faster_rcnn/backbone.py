"""The ResNet backbone of the detector: stem, bottleneck blocks, stages.

Source: He et al. 2016 (ResNet) in Caffe's variant ResNet-101-C4: the first 1×1 convolution of a stage has the
stride, and the stem's max pooling has no padding and rounds sizes up.

Shapes: B images, H and W network pixels, C channels of the feature map, h and w its rows and columns, about
H / stride and W / stride.
"""

from typing import Any, Self

from torch import Tensor, nn
from torch.nn import functional as F

from lxmert.vision.faster_rcnn.configuration import FasterRcnnConfig


class NormedConvolution(nn.Conv2d):
    """A convolution without bias, followed by batch normalisation.

    The normalisation is a child named `norm`, as in the published weights.

    Args:
        channels_in: input channels.
        channels_out: output channels.
        kernel: kernel size.
        freeze_norm: True keeps the normalisation's parameters fixed and in evaluation mode during training.
        **kwargs: other arguments of `nn.Conv2d`.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, freeze_norm: bool, **kwargs: Any
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, bias=False, **kwargs)
        self.norm = nn.BatchNorm2d(self.out_channels)
        self.freeze_norm = freeze_norm
        if freeze_norm:
            self.norm.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen normalisation stays in evaluation mode."""
        super().train(mode)
        if self.freeze_norm:
            self.norm.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        normed: Tensor = self.norm(super().forward(inputs))
        return normed


class Stem(nn.Module):
    """7×7 convolution with stride 2, then 3×3 max pooling with stride 2, no padding and sizes rounded up."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.conv1 = NormedConvolution(
            3, config.stem_channels, 7, stride=2, padding=3, freeze_norm=config.freeze_norms
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, stem_channels, about H / 4, about W / 4)."""
        hidden = F.relu_(self.conv1(pixel_values))
        return F.max_pool2d(hidden, kernel_size=3, stride=2, padding=0, ceil_mode=True)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with a shortcut connection.

    Args:
        config: the detector's configuration.
        channels: input, bottleneck and output channels.
        stride: stride of the first convolution and of the shortcut.
        dilation: dilation of the 3×3 convolution.
    """

    def __init__(
        self, config: FasterRcnnConfig, channels: tuple[int, int, int], *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        inputs, width, outputs = channels
        frozen = config.freeze_norms
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = NormedConvolution(inputs, outputs, 1, stride=stride, freeze_norm=frozen)
        self.conv1 = NormedConvolution(inputs, width, 1, stride=stride, freeze_norm=frozen)
        self.conv2 = NormedConvolution(
            width,
            width,
            3,
            padding=dilation,
            dilation=dilation,
            groups=config.num_groups,
            freeze_norm=frozen,
        )
        self.conv3 = NormedConvolution(width, outputs, 1, freeze_norm=frozen)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""
        hidden = F.relu_(self.conv1(inputs))
        hidden = F.relu_(self.conv2(hidden))
        hidden = self.conv3(hidden)
        residual = inputs if self.shortcut is None else self.shortcut(inputs)
        return F.relu_(hidden + residual)


def build_stage(config: FasterRcnnConfig, stage: int, *, stride: int, dilation: int = 1) -> nn.Sequential:
    """Make the bottleneck blocks of one stage.

    Args:
        config: the detector's configuration.
        stage: 2..5 for res2..res5; channels double from stage to stage.
        stride: stride of the first block; the others have 1.
        dilation: dilation of the 3×3 convolution of every block.
    """
    factor = 2 ** (stage - 2)
    width = config.width_per_group * config.num_groups * factor
    outputs = config.res2_channels * factor
    inputs = _input_channels(config, stage)
    blocks = []
    for _ in range(config.stage_blocks[stage - 2]):
        blocks.append(Bottleneck(config, (inputs, width, outputs), stride=stride, dilation=dilation))
        inputs, stride = outputs, 1
    return nn.Sequential(*blocks)


class Backbone(nn.Module):
    """Pixels to feature map: stem, res2, res3 and, unless features are taken from res3, res4."""

    def __init__(self, config: FasterRcnnConfig) -> None:
        super().__init__()
        self.stem = Stem(config)
        self.res2 = build_stage(config, 2, stride=1)
        self.res3 = build_stage(config, 3, stride=2)
        self.res4 = build_stage(config, 4, stride=2) if config.feature_stage == "res4" else nn.Identity()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w)."""
        hidden = self.stem(pixel_values)
        features: Tensor = self.res4(self.res3(self.res2(hidden)))
        return features

    def freeze(self, stages: int) -> None:
        """Freeze the first stages: 0 for none, 1 for the stem, 2 for the stem and res2, and so on."""
        for part in (self.stem, self.res2, self.res3, self.res4)[:stages]:
            part.requires_grad_(False)
            for module in part.modules():
                if isinstance(module, NormedConvolution):
                    # Otherwise running statistics would still be updated in training mode.
                    module.freeze_norm = True


def feature_map_channels(config: FasterRcnnConfig) -> int:
    """Return the number of channels C of the feature map."""
    return config.res2_channels * (4 if config.feature_stage == "res4" else 2)


def _input_channels(config: FasterRcnnConfig, stage: int) -> int:
    if stage == 2:
        return config.stem_channels
    if stage == 5:
        return feature_map_channels(config)
    return config.res2_channels * int(2 ** (stage - 3))
