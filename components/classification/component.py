"""Kubeflow Pipelines faces of the classification steps."""

from kfp import dsl

from components.core.component import component


@component
def classify(
    params: str,
    code: str,
    fold: int,
    network: str,
    training_set: str,
    data: dsl.Input[dsl.Dataset],
    trial: dsl.Output[dsl.Model],
    generated: dsl.Input[dsl.Dataset] = None,
):
    """Train and test one network on one training set."""
    from components.classification.step import classify

    trial.metadata.update(
        classify(
            params,
            code=code,
            data=data.path,
            generated=generated and generated.path,
            fold=fold,
            network=network,
            training_set=training_set,
            out=trial.path,
        )
    )


@component
def sweep(
    params: str,
    code: str,
    fold: int,
    network: str,
    data: dsl.Input[dsl.Dataset],
    generated: dsl.Input[dsl.Dataset],
    points: dsl.Output[dsl.Artifact],
):
    """Train and test one network with every ratio of synthetic images (Figure 7)."""
    from components.classification.step import sweep

    points.metadata.update(
        sweep(params, code=code, data=data.path, generated=generated.path, fold=fold, network=network, out=points.path)
    )
