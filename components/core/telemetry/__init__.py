"""What a step tells MLflow and whoever watches it. `courier` delivers it, `tracking` alone imports MLflow."""

from components.core.telemetry.environment import DIRTY, environment_tags, journals_dir, shown, tracking_uri
from components.core.telemetry.journal import WARNING, Journal, activities, is_alive, leaves
from components.core.telemetry.progress import progress
from components.core.telemetry.record import Record
