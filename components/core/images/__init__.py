"""Images and models on disk: what flows between steps."""

from components.core.images.colour import to_grey
from components.core.images.generated import check_generated
from components.core.images.grid import as_levels, grid
from components.core.images.imageset import ALL, EXTERNAL, IMAGES, NO_FOLD, RESERVE, TEST_FOLD, ImageSet
from components.core.images.modeldir import load_model, model_facts, save_model
