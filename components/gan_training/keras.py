"""Keras's conventions in torch: paper 2 states its networks and optimisers in Keras's terms.

| | Keras | torch |
|---|---|---|
| momentum of batch normalisation | weight of the past, 0.9 | weight of the new batch, 0.1 |
| ε of batch normalisation, of optimisers | 1e-3, 1e-7 | 1e-5, 1e-8 |
| ρ of RMSprop | 0.9 | 0.99 |
| decay | rate / (1 + decay · updates done) | a scheduler |
| initial weights | Glorot's uniform, biases 0 | LeCun's uniform |

Moving variances are torch's unbiased ones, as in Keras's fused kernel.
"""

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

OPTIMISER_EPSILON = 1e-7


def batch_norm(layer: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], features: int, momentum: float) -> nn.Module:
    """Batch normalisation whose `momentum`, in [0, 1), is the weight of the past in the moving statistics."""
    return layer(features, eps=1e-3, momentum=1 - momentum)


def glorot(network: nn.Module) -> None:
    """Initialise dense and convolution layers anew: Glorot's uniform weights, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def adam(weights: Iterable[nn.Parameter], learning_rate: float, beta_1: float) -> Adam:
    """Adam with β₂ = 0.999."""
    return Adam(weights, learning_rate, (beta_1, 0.999), OPTIMISER_EPSILON, fused=True)


def rmsprop(weights: Iterable[nn.Parameter], learning_rate: float) -> RMSprop:
    """RMSprop with ρ = 0.9: w −= rate · g / (√v + ε), v the moving mean of g²."""
    return RMSprop(weights, learning_rate, alpha=0.9, eps=OPTIMISER_EPSILON, foreach=True)


def decayed(optimiser: Optimizer, decay: float) -> LambdaLR:
    """The schedule rate / (1 + decay · t), t the updates done; its `step` belongs after every update."""
    return LambdaLR(optimiser, lambda updates: 1 / (1 + decay * updates))
