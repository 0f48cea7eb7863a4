"""What Konflux's tasks take and give, as far as the example has to do with it: names and types, no steps.

From konflux-ci/container-build-catalog (git-clone-oci-ta 0.2, buildah-remote-oci-ta 0.12, build-image-index
0.3) and konflux-ci/konflux-test-tasks (clair-scan and clamav-scan 0.3), August 2026.
"""

from __future__ import annotations

from dataclasses import replace

from tests.tekton.resources import ParamSpec, Task, WorkspaceSpec
from tests.tekton.validation import Tasks


def _task(
    name: str,
    required: str,
    optional: str = "",
    results: str = "",
    *,
    arrays: str = "",
    workspaces: str = "",
) -> Task:
    return Task(
        name,
        (
            *(ParamSpec(param, is_array=param in arrays.split(), default=None) for param in required.split()),
            *(ParamSpec(param, is_array=False, default="") for param in optional.split()),
        ),
        tuple(results.split()),
        tuple(WorkspaceSpec(workspace, optional=True, read_only=False) for workspace in workspaces.split()),
        step={},
        volumes={},
    )


_IMAGE_RESULTS = "IMAGE_URL IMAGE_DIGEST IMAGE_REF SBOM_BLOB_URL"

_TASKS = {
    task.name: task
    for task in (
        _task(
            "git-clone-oci-ta",
            "url ociStorage",
            "revision ociArtifactExpiresAfter",
            "url commit SOURCE_ARTIFACT",
            workspaces="basic-auth",
        ),
        _task(
            "buildah-remote-oci-ta",
            "IMAGE PLATFORM SOURCE_ARTIFACT",
            "DOCKERFILE IMAGE_EXPIRES_AFTER COMMIT_SHA SOURCE_URL IMAGE_APPEND_PLATFORM BUILDAH_FORMAT",
            _IMAGE_RESULTS,
        ),
        _task(
            "build-image-index", "IMAGE IMAGES", "BUILDAH_FORMAT", f"IMAGES {_IMAGE_RESULTS}", arrays="IMAGES"
        ),
        _task(
            "clair-scan",
            "image-url image-digest",
            "image-platform",
            "TEST_OUTPUT SCAN_OUTPUT IMAGES_PROCESSED REPORTS",
        ),
        _task("clamav-scan", "image-url image-digest", "image-arch", "TEST_OUTPUT IMAGES_PROCESSED"),
    )
}


def beside(ours: Tasks) -> Tasks:
    """The tasks of Konflux, and these of this repository."""
    return {**ours, **_TASKS, "recompress": _with_sbom(ours["recompress"])}


def _with_sbom(task: Task) -> Task:
    """With the parameters SBOM and SBOM_FROM, as long as task.yaml has none."""
    if any(param.name == "SBOM" for param in task.params):
        return task
    more = (
        ParamSpec("SBOM", is_array=False, default="auto"),
        ParamSpec("SBOM_FROM", is_array=True, default=[]),
    )
    return replace(task, params=(*task.params, *more))
