"""Seeds: a draw hangs on its purpose and its place in the experiment, never on the treatment or on the code.

Two training sets, or two values of a parameter, are then compared on equal weights, batches and noise, where shapes
allow; and an edited line of code changes what it changes, not every draw.
"""

from typing import Any

from components.core.storage import digest_json


def derive_seed(seed: int, *purpose: Any) -> int:
    """63 bits that hang on a seed and on a purpose (anything that JSON can write) alone.

    They are hashed: seeds that were added up instead would make one replicate's second draw another's first.
    """
    return int(digest_json([seed, *purpose])[:16], 16) >> 1
