"""The registered network that gives grey pictures their colours, without the code that trained it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from components.core.errors import UserError
from components.core.telemetry import shown, tracking_uri
from components.core.telemetry.tracking import load_model


@dataclass(frozen=True)
class Renderer:
    """A network of one size.

    Attributes:
        predict: grey (N, 1, rows, columns) float32 in [-1, 1] → RGB (N, 3, rows, columns) in [-1, 1].
        rows, columns: of its pictures.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    rows: int
    columns: int


def load_renderer(uri: str) -> Renderer:
    """Load a registered model such as `models:/colour-renderer@champion`, or one that lies in a local folder.

    Raises:
        UserError: there is none, it does not colour pictures, or the tracking server does not answer.
    """
    try:
        model = load_model(uri)
    except LookupError:
        where = f" in {shown(tracking_uri())}" if uri.startswith("models:") else ""
        raise UserError(
            f"There is no model {uri}{where}; run `ganflow run colour` first, or name another model."
        ) from None
    match model.shape:
        case (_, 1, int(rows), int(columns)) if min(rows, columns) > 0:
            return Renderer(model.predict, rows, columns)
    raise UserError(f"The model {uri} takes arrays of shape {model.shape}, not grey pictures; name another model.")
