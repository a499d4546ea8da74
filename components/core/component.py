"""What every step's Kubeflow Pipelines face has in common."""

import functools

from kfp import dsl

IMAGE = "ganflow-python:0.1.0"
"""The image that holds this package; `kfp.local`'s subprocess runner takes the present interpreter instead."""

component = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
"""Decorator of a face. Its `params` is the step's section as JSON; its `code` is the digest of the step's sources:
Kubeflow's cache key sees neither the package in an image nor a checkout, so the step holds it against what it runs."""
