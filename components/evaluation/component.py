"""Kubeflow Pipelines faces of the evaluation steps."""

from kfp import dsl

from components.core.contract.component import component


@component
def gather(
    params: str,
    code: str,
    fold: int,
    replicate: int,
    data: dsl.Input[dsl.Dataset],
    generators: dsl.Input[list[dsl.Model]],
    synthetic: dsl.Input[dsl.Dataset],
    refined: dsl.Input[dsl.Dataset],
    resnet50_none: dsl.Input[dsl.Model],
    resnet50_classic: dsl.Input[dsl.Model],
    resnet50_egan: dsl.Input[dsl.Model],
    resnet50_simgan: dsl.Input[dsl.Model],
    xception_none: dsl.Input[dsl.Model],
    xception_classic: dsl.Input[dsl.Model],
    xception_egan: dsl.Input[dsl.Model],
    xception_simgan: dsl.Input[dsl.Model],
    gathered: dsl.Output[dsl.Artifact],
    resnet50_oracle: dsl.Input[dsl.Model] = None,
    resnet50_repeat: dsl.Input[dsl.Model] = None,
    xception_oracle: dsl.Input[dsl.Model] = None,
    xception_repeat: dsl.Input[dsl.Model] = None,
    resnet50_synthetic_sweeps: dsl.Input[dsl.Artifact] = None,
    resnet50_refined_sweeps: dsl.Input[dsl.Artifact] = None,
    xception_synthetic_sweeps: dsl.Input[dsl.Artifact] = None,
    xception_refined_sweeps: dsl.Input[dsl.Artifact] = None,
):
    """Collect what the evaluation needs of one training on one fold; a run may lack the controls and a sweep.

    Each trial has an input of its own: a list would have to come from a loop, which starts only when all in it can.
    """
    from components.evaluation.step import gather

    resnet50 = [resnet50_none, resnet50_classic, resnet50_egan, resnet50_simgan, resnet50_oracle, resnet50_repeat]
    xception = [xception_none, xception_classic, xception_egan, xception_simgan, xception_oracle, xception_repeat]
    sweeps = [resnet50_synthetic_sweeps, resnet50_refined_sweeps, xception_synthetic_sweeps, xception_refined_sweeps]
    gathered.metadata.update(
        gather(
            params,
            code=code,
            data=data.path,
            generators=[each.path for each in generators],
            synthetic=synthetic.path,
            refined=refined.path,
            classifications=[each.path for each in [*resnet50, *xception] if each],
            sweeps=[each.path for each in sweeps if each],
            fold=fold,
            replicate=replicate,
            out=gathered.path,
        )
    )


@component
def collect(
    params: str,
    code: str,
    replicate: int,
    folds: dsl.Input[list[dsl.Artifact]],
    collected: dsl.Output[dsl.Artifact],
):
    """Put one replicate's folds together: a collection of what nested loops made is none that kfp.local understands."""
    from components.evaluation.step import collect

    collected.metadata.update(
        collect(params, code=code, folds=[each.path for each in folds], replicate=replicate, out=collected.path)
    )


@component
def evaluate(params: str, code: str, replicates: dsl.Input[list[dsl.Artifact]], report: dsl.Output[dsl.Artifact]):
    """Score all folds and write the report."""
    from components.evaluation.step import evaluate

    report.metadata.update(evaluate(params, code=code, replicates=[each.path for each in replicates], out=report.path))


@component
def register(
    params: str,
    code: str,
    replicates: dsl.Input[list[dsl.Artifact]],
    report: dsl.Input[dsl.Artifact],
    registered: dsl.Output[dsl.Artifact],
):
    """Register generator, refiner and classifier, each behind its champion's gate."""
    from components.evaluation.step import register

    registered.metadata.update(
        register(
            params,
            code=code,
            replicates=[each.path for each in replicates],
            report=report.path,
            out=registered.path,
        )
    )


@component
def evaluate_digits(
    params: str,
    code: str,
    data: dsl.Input[dsl.Dataset],
    styles: dsl.Input[dsl.Dataset],
    concept: dsl.Input[dsl.Model],
    style_concept: dsl.Input[dsl.Model],
    gans: dsl.Input[list[dsl.Model]],
    dcgans: dsl.Input[list[dsl.Model]],
    report: dsl.Output[dsl.Artifact],
):
    """Score what the generators draw and write the report."""
    from components.evaluation.step import evaluate_digits

    report.metadata.update(
        evaluate_digits(
            params,
            code=code,
            data=data.path,
            styles=styles.path,
            concept=concept.path,
            style_concept=style_concept.path,
            generators=[each.path for each in [*gans, *dcgans]],
            out=report.path,
        )
    )


@component
def register_digits(
    params: str,
    code: str,
    gans: dsl.Input[list[dsl.Model]],
    dcgans: dsl.Input[list[dsl.Model]],
    report: dsl.Input[dsl.Artifact],
    registered: dsl.Output[dsl.Artifact],
):
    """Register the generator of all digits behind its champion's gate."""
    from components.evaluation.step import register_digits

    registered.metadata.update(
        register_digits(
            params,
            code=code,
            generators=[each.path for each in [*gans, *dcgans]],
            report=report.path,
            out=registered.path,
        )
    )


@component
def evaluate_colour(
    params: str,
    code: str,
    data: dsl.Input[dsl.Dataset],
    trainings: dsl.Input[list[dsl.Model]],
    report: dsl.Output[dsl.Artifact],
):
    """Score what every variant renders and write the report."""
    from components.evaluation.step import evaluate_colour

    report.metadata.update(
        evaluate_colour(params, code=code, data=data.path, trainings=[each.path for each in trainings], out=report.path)
    )


@component
def register_colour(
    params: str,
    code: str,
    trainings: dsl.Input[list[dsl.Model]],
    report: dsl.Input[dsl.Artifact],
    registered: dsl.Output[dsl.Artifact],
):
    """Register a variant's network behind its champion's gate."""
    from components.evaluation.step import register_colour

    registered.metadata.update(
        register_colour(
            params,
            code=code,
            trainings=[each.path for each in trainings],
            report=report.path,
            out=registered.path,
        )
    )
