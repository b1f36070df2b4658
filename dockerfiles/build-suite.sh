#!/bin/sh
# Builds the image of the suite, with its tests built already: build-suite.sh [NAME], by default
# countersign-suite. It needs Go and a Docker engine, and no registry.
set -eu
cd "$(dirname "$0")/.."
script=build-suite.sh
. dockerfiles/image.sh

go run ./cmd/countersign bundle "$context/bundle" --os linux --arch "$arch" >&2
build_image dockerfiles/suite.Dockerfile "${1:-countersign-suite}"
