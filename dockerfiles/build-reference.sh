#!/bin/sh
# Builds the image of the reference homeserver: build-reference.sh [NAME], by default
# countersign-reference. It needs Go and a Docker engine, and no registry.
set -eu
cd "$(dirname "$0")/.."
script=build-reference.sh
. dockerfiles/image.sh

CGO_ENABLED=0 GOOS=linux GOARCH="$arch" go build -trimpath -ldflags='-s -w' -o "$context/countersign" ./cmd/countersign
build_image dockerfiles/reference.Dockerfile "${1:-countersign-reference}"
