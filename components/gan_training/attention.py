"""Self-attention over the positions of a feature map, with memory linear in their number.

Li et al. 2023 (paper 3), section 3.2, after Zhang et al. 2019 (SAGAN), whose reduction of the query's and the key's
channels to an eighth it shows.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Initial = Literal["torch", "normal", "uniform"]
"""How an attention's weights begin: the paper's SA, SA′ and SA″."""

REDUCTION = 8
"""Channels of the feature map for one of the query and of the key; they have one at least."""

ALIGNMENT = 8
"""CUDA's kernels that are linear in memory want the channels to be a multiple of this."""


class SelfAttention(nn.Module):
    """x + γ · softmax(q kᵀ) v over all positions: (N, channels, H, W) → the same shape.

    γ is learnt and begins at 0, so that at first the input passes unchanged. The matrix of all pairs of positions
    never exists: torch's fused kernels sum the softmax up block by block, forward and backward. As in the paper, the
    scores are not divided by √d. A 1×1 convolution is a dense layer over the positions, and so it is written here.

    Args:
        channels: of the feature map.
        initial: "torch": weights and biases as torch draws them (SA). "normal" or "uniform": weights zero but on the
            diagonal, where they are N(0, 1) (SA′) or U(0, 1) (SA″); we read: with biases 0, and for query and key,
            which have fewer channels, on the diagonal that begins at the first channel.
    """

    def __init__(self, channels: int, initial: Initial) -> None:
        super().__init__()
        reduced = max(1, channels // REDUCTION)
        self.query = nn.Linear(channels, reduced)
        self.key = nn.Linear(channels, reduced)
        self.value = nn.Linear(channels, channels)
        self.gamma = nn.Parameter(torch.zeros(()))
        if initial != "torch":
            for layer in (self.query, self.key, self.value):
                _diagonal(layer, _DRAW[initial])

    def forward(self, features: Tensor) -> Tensor:
        positions = features.flatten(2).transpose(1, 2).contiguous()  # (N, H·W, channels)
        mixed = attend(self.query(positions), self.key(positions), self.value(positions))
        return features + self.gamma * mixed.transpose(1, 2).unflatten(2, features.shape[2:])


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ) v of (N, L, d), (N, L, d) and (N, L, c), d ≤ c: (N, L, c), in memory linear in L.

    The fused kernels want all three equally wide; zeros in the query and the key change no score.
    """
    channels = value.shape[-1]
    width = channels if value.device.type == "cpu" else -(-channels // ALIGNMENT) * ALIGNMENT
    heads = [F.pad(each, (0, width - each.shape[-1])).unsqueeze(1) for each in (query, key, value)]
    return F.scaled_dot_product_attention(*heads, scale=1.0).squeeze(1)[..., :channels]


_DRAW: dict[Initial, Callable[[Tensor], Tensor]] = {"normal": nn.init.normal_, "uniform": nn.init.uniform_}


def _diagonal(layer: nn.Linear, draw: Callable[[Tensor], Tensor]) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        draw(layer.weight.diagonal())
