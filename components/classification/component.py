"""Kubeflow Pipelines faces of the classification steps."""

from kfp import dsl

from components.core.contract.component import component


@component
def classify(
    params: str,
    code: str,
    fold: int,
    replicate: int,
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
            replicate=replicate,
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
    replicate: int,
    network: str,
    images: str,
    data: dsl.Input[dsl.Dataset],
    generated: dsl.Input[dsl.Dataset],
    points: dsl.Output[dsl.Artifact],
):
    """Train and test one network with every ratio of synthetic or of refined images (Figure 7)."""
    from components.classification.step import sweep

    points.metadata.update(
        sweep(
            params,
            code=code,
            data=data.path,
            generated=generated.path,
            fold=fold,
            replicate=replicate,
            network=network,
            images=images,
            out=points.path,
        )
    )


@component
def train_concept(params: str, code: str, concepts: str, data: dsl.Input[dsl.Dataset], network: dsl.Output[dsl.Model]):
    """Train and test the network that tells an image set's classes apart."""
    from components.classification.step import train_concept

    network.metadata.update(train_concept(params, code=code, data=data.path, concepts=concepts, out=network.path))


@component
def label_styles(
    params: str,
    code: str,
    label: str,
    data: dsl.Input[dsl.Dataset],
    concept: dsl.Input[dsl.Model],
    styles: dsl.Output[dsl.Dataset],
):
    """Label one class's images by writing style."""
    from components.classification.step import label_styles

    styles.metadata.update(
        label_styles(params, code=code, data=data.path, concept=concept.path, label=label, out=styles.path)
    )
