"""Kubeflow Pipelines face of the refinement step."""

from kfp import dsl

from components.core.contract.component import component


@component
def refine(
    params: str,
    code: str,
    fold: int,
    replicate: int,
    data: dsl.Input[dsl.Dataset],
    synthetic: dsl.Input[dsl.Dataset],
    images: dsl.Output[dsl.Dataset],
):
    """Train the SimGAN refiner of one fold and refine its synthetic images."""
    from components.refinement.step import refine

    images.metadata.update(
        refine(
            params,
            code=code,
            data=data.path,
            synthetic=synthetic.path,
            fold=fold,
            replicate=replicate,
            out=images.path,
        )
    )
