"""Kubeflow Pipelines faces of the GAN training steps."""

from kfp import dsl

from components.core.contract.component import component


@component
def train_egan(
    params: str,
    code: str,
    fold: int,
    replicate: int,
    label: str,
    data: dsl.Input[dsl.Dataset],
    generator: dsl.Output[dsl.Model],
):
    """Train the E-GAN of one class on one fold."""
    from components.gan_training.cardiac_step import train_egan

    generator.metadata.update(
        train_egan(params, code=code, data=data.path, fold=fold, replicate=replicate, label=label, out=generator.path)
    )


@component
def synthesize(
    params: str,
    code: str,
    fold: int,
    replicate: int,
    data: dsl.Input[dsl.Dataset],
    generators: dsl.Input[list[dsl.Model]],
    images: dsl.Output[dsl.Dataset],
):
    """Draw synthetic images of every class."""
    from components.gan_training.cardiac_step import synthesize

    trained = [each.path for each in generators]
    images.metadata.update(
        synthesize(
            params, code=code, data=data.path, generators=trained, fold=fold, replicate=replicate, out=images.path
        )
    )


@component
def train_gan(
    params: str,
    code: str,
    label: str,
    replicate: str,
    data: dsl.Input[dsl.Dataset],
    generator: dsl.Output[dsl.Model],
):
    """Train the plain GAN on one class, or on all; `replicate` is a number, a text in a loop."""
    from components.gan_training.digits_step import train_gan

    generator.metadata.update(
        train_gan(params, code=code, data=data.path, label=label, replicate=replicate, out=generator.path)
    )


@component
def train_dcgan(
    params: str,
    code: str,
    label: str,
    replicate: str,
    data: dsl.Input[dsl.Dataset],
    generator: dsl.Output[dsl.Model],
):
    """Train the improved DCGAN on one class, or on all; `replicate` is a number, a text in a loop."""
    from components.gan_training.digits_step import train_dcgan

    generator.metadata.update(
        train_dcgan(params, code=code, data=data.path, label=label, replicate=replicate, out=generator.path)
    )


@component
def train_colour(
    params: str,
    code: str,
    variant: str,
    dataset: str,
    replicate: str,
    data: dsl.Input[dsl.Dataset],
    training: dsl.Output[dsl.Model],
):
    """Train one variant of the colour GAN on one data set, or on all; `replicate` is a number, a text in a loop."""
    from components.gan_training.colour_step import train_colour

    training.metadata.update(
        train_colour(
            params, code=code, data=data.path, variant=variant, dataset=dataset, replicate=replicate, out=training.path
        )
    )
