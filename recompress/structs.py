"""The structs that Go clients decode manifests, indexes and configs into.

The fields are those of opencontainers/image-spec (specs-go/v1) and those that only Docker has
(containers/image, manifest/docker_schema2.go and docker_schema2_list.go). podman and skopeo decode none of
these, so that their types do not matter, only their spelling.
"""

from __future__ import annotations

from recompress.gojson import anything, array, boolean, integer, mapping, name, string, struct, time

_PLATFORM = {
    "architecture": name,
    "os": name,
    "os.version": name,
    "os.features": array(name),
    "variant": name,
}

_ANNOTATIONS = mapping(name, keys=name)

_DESCRIPTOR = struct(
    {
        "mediaType": name,
        "digest": name,
        "size": integer,
        "urls": array(name),
        "annotations": _ANNOTATIONS,
        "data": name,
        "platform": struct(_PLATFORM | {"features": array(name)}),
        "artifactType": name,
    }
)

MANIFEST_OR_INDEX = struct(
    {
        "schemaVersion": integer,
        "mediaType": name,
        "artifactType": name,
        "config": _DESCRIPTOR,
        "layers": array(_DESCRIPTOR),
        "manifests": array(_DESCRIPTOR),
        "subject": _DESCRIPTOR,
        "annotations": _ANNOTATIONS,
        # Of schema 1.
        "fsLayers": anything,
        "history": anything,
    }
)

_SETTINGS = {
    "User": string,
    "ExposedPorts": mapping(struct({})),
    "Env": array(string),
    "Entrypoint": array(string),
    "Cmd": array(string),
    "Volumes": mapping(struct({})),
    "WorkingDir": string,
    "Labels": mapping(string),
    "StopSignal": string,
    "ArgsEscaped": boolean,
}

_DOCKER_SETTINGS = dict.fromkeys(
    (
        *("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin"),
        *("StdinOnce", "Image", "NetworkDisabled", "MacAddress", "OnBuild", "StopTimeout", "Shell"),
    ),
    anything,
) | {
    "Healthcheck": struct(
        dict.fromkeys(("Test", "StartPeriod", "StartInterval", "Interval", "Timeout", "Retries"), anything)
    )
}

CONFIG = struct(
    _PLATFORM
    | {
        "created": time,
        "author": string,
        "config": struct(_SETTINGS | _DOCKER_SETTINGS),
        "rootfs": struct({"type": string, "diff_ids": array(name)}),
        "history": array(
            struct(
                {
                    "created": time,
                    "created_by": string,
                    "author": string,
                    "comment": string,
                    "empty_layer": boolean,
                }
            )
        ),
        "container_config": struct(dict.fromkeys(_SETTINGS, anything) | _DOCKER_SETTINGS),
    }
    | dict.fromkeys(("id", "parent", "comment", "container", "docker_version", "Size"), anything)
)
