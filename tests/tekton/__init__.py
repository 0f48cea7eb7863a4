"""Tekton's own rules for the Tasks and Pipelines of this repository, and containers to run them in.

    variables   $(params.x), $(params.x[*]), $(tasks.t.results.r[*]) and their like
    resources   a Task or Pipeline, read from YAML; whatever is not known here is refused
    matrix      one PipelineTask becomes many TaskRuns
    results     the 4,096 bytes that a TaskRun's results have
    step        a Task's step as `docker run`
    validation  what Tekton refuses in a Pipeline before anything runs
    pipeline    a PipelineRun: order, fan-out, retries, results

The rules are those of Tekton Pipelines 1.0 to 1.15 with its default feature flags. Where this is stricter
than Tekton, it says so: an example must not rest on what Tekton only puts up with.
"""
