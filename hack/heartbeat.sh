#!/usr/bin/env bash
# heartbeat.sh COMMAND…: pass a command's output through, and say so where there is none for 10 s.
set -euo pipefail

"$@" 2>&1 </dev/null | while true; do
    line=
    if IFS= read -r -t 10 line; then
        printf '%s\n' "$line"
    elif (($? > 128)); then
        printf '%s… %s s\n' "$line" "$SECONDS"
    else
        printf '%s' "$line"
        break
    fi
done
