#!/bin/sh
# Builds the image of the reference homeserver: build-reference.sh [NAME], by default
# countersign-reference. It needs Go and a Docker engine, and no registry.
set -eu
cd "$(dirname "$0")/.."
name=${1:-countersign-reference}

if ! arch=$(docker version --format '{{.Server.Arch}}' 2>/dev/null); then
	echo "build-reference.sh: no Docker engine answers; start one, or point DOCKER_HOST at one" >&2
	exit 2
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
CGO_ENABLED=0 GOOS=linux GOARCH="$arch" go build -trimpath -ldflags='-s -w' -o "$context/countersign" ./cmd/countersign

# Without the buildx plugin, the command line wants to be told to use the engine's own builder.
if ! docker buildx version >/dev/null 2>&1; then
	export DOCKER_BUILDKIT=0
fi
if ! docker build --quiet --tag "$name" --file dockerfiles/reference.Dockerfile "$context" >"$context/build.log" 2>&1; then
	cat "$context/build.log" >&2
	exit 2
fi
echo "$name"
