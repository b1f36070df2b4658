# Read by the scripts beside it: what they share. They give $script, their name, and work at the root of
# the checkout. It sets $arch and $context, a folder that is removed at the end.
if ! arch=$(docker version --format '{{.Server.Arch}}' 2>/dev/null); then
	echo "$script: no Docker engine answers; start one, or point DOCKER_HOST at one" >&2
	exit 2
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# build_image DOCKERFILE NAME makes an image of what is in $context, and prints its name.
build_image() {
	# Without the buildx plugin, the command line wants to be told to use the engine's own builder.
	if ! docker buildx version >/dev/null 2>&1; then
		export DOCKER_BUILDKIT=0
	fi
	if ! docker build --quiet --tag "$2" --file "$1" "$context" >"$context/build.log" 2>&1; then
		cat "$context/build.log" >&2
		exit 2
	fi
	echo "$2"
}
