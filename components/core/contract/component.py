"""What every step's Kubeflow Pipelines face has in common."""

from collections.abc import Callable

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

IMAGE = "ganflow-python:0.1.0"
"""Stands for the image that holds this package until a runner or a placement puts in the real one, by its digest."""


def component(function: Callable[..., None]) -> BaseComponent:
    """Decorator of a face. Its `params` is the step's section as JSON; its `code` is the digest of the step's sources:
    Kubeflow's cache key sees neither the package in an image nor a checkout, so the step holds it against what it runs.
    """
    face = dsl.component(function, base_image=IMAGE, install_kfp_package=False)
    container = face.component_spec.implementation.container
    # kfp's shell would keep SIGTERM from the step: it shall become the step instead of waiting for it.
    start, becoming = "_KFP_RUNTIME=true python3", "_KFP_RUNTIME=true exec python3"
    container.command = [word.replace(start, becoming) for word in container.command]
    return face
