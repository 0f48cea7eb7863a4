#!/usr/bin/env bash
# engine.sh COMMAND…: run a command that needs a container engine.
#
# The engine that is there is used. Where there is none, Docker is installed and started, and stopped
# again at the end if it was started here.
set -euo pipefail
cd "$(dirname "$0")/.."

running() { docker info >/dev/null 2>&1; }

wait_for_engine() {
    for _ in {1..300}; do
        running && return
        [[ -z ${daemon:-} ]] || kill -0 "$daemon" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}

start() {
    if [[ -d /run/systemd/system ]]; then
        systemctl start docker
        trap 'systemctl stop docker.socket docker' EXIT
        wait_for_engine
        return
    fi
    mkdir -p build/log
    # Its own session: Ctrl-C must first end what uses the engine, and then the engine.
    setsid dockerd >build/log/dockerd.log 2>&1 &
    daemon=$!
    trap 'kill "$daemon"; wait "$daemon" || true; echo "  The container engine started for this is stopped." >&2' EXIT
    wait_for_engine
}

if ! command -v docker >/dev/null || { ! running && ! command -v dockerd >/dev/null; }; then
    # apparmor: where the kernel has it switched on, Docker starts no container without its parser.
    hack/apt-install.sh docker.io ca-certificates iptables apparmor
    # A package of its own from Debian 13 on.
    command -v docker >/dev/null || hack/apt-install.sh docker-cli
fi
if ! running; then
    echo "  Starting a container engine" >&2
    start || {
        echo "The container engine does not start, or cannot be used:" >&2
        docker info >/dev/null || true
        if [[ -n ${daemon:-} ]]; then
            echo "The end of build/log/dockerd.log:" >&2
            tail -n 20 build/log/dockerd.log >&2
        fi
        exit 1
    }
fi

# The client is as old as the engine or newer, and has no buildx.
export DOCKER_BUILDKIT=0
"$@"
