"""Kubeflow Pipelines faces of the data preparation steps."""

from kfp import dsl

from components.core.contract.component import component


@component
def simulate(params: str, code: str, raw: dsl.Output[dsl.Dataset]):
    """Write a simulated cohort."""
    from components.data_prep.step import simulate

    raw.metadata.update(simulate(params, code=code, out=raw.path))


@component
def prepare(
    params: str,
    code: str,
    images: dsl.Output[dsl.Dataset],
    raw: dsl.Input[dsl.Dataset] = None,
    source: str = "",
    digest: str = "",
):
    """Turn raw files, the simulated cohort's or a source's, into an image set with folds.

    `digest` is the content digest of `source`: by it Kubeflow's cache notices a change, and it is fetched.
    """
    from components.core.storage import fetch
    from components.data_prep.step import prepare

    images.metadata.update(prepare(params, code=code, raw=raw.path if raw else fetch(source, digest), out=images.path))


@component
def acquire(params: str, code: str, raw: dsl.Output[dsl.Dataset]):
    """Write MNIST's files, or the bundled digits in the like."""
    from components.data_prep.step import acquire

    raw.metadata.update(acquire(params, code=code, out=raw.path))


@component
def prepare_digits(
    params: str,
    code: str,
    images: dsl.Output[dsl.Dataset],
    raw: dsl.Input[dsl.Dataset] = None,
    source: str = "",
    digest: str = "",
):
    """Turn MNIST's files, acquired or a source's, into an image set with its test part as a fold.

    `digest` is the content digest of `source`: by it Kubeflow's cache notices a change, and it is fetched.
    """
    from components.core.storage import fetch
    from components.data_prep.step import prepare_digits

    images.metadata.update(
        prepare_digits(params, code=code, raw=raw.path if raw else fetch(source, digest), out=images.path)
    )


@component
def prepare_photographs(params: str, code: str, source: str, digest: str, images: dsl.Output[dsl.Dataset]):
    """Turn photographs into an image set with a test part.

    `digest` is the content digest of `source`: by it Kubeflow's cache notices a change, and it is fetched.
    """
    from components.core.storage import fetch
    from components.data_prep.step import prepare_photographs

    images.metadata.update(prepare_photographs(params, code=code, raw=fetch(source, digest), out=images.path))
