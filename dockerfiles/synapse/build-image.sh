#!/bin/sh
# Puts the Synapse that is installed on this machine into an image that meets Complement's contract:
#
#	SYNAPSE_PYTHON=/tmp/synapse/bin/python dockerfiles/synapse/build-image.sh [NAME]
#
# It needs no registry and no network: the image is the Python installation, its shared libraries, a
# shell and the few commands that ./exec calls, at the paths that they have here.
set -eu
name=${1:-countersign-synapse}
here=$(cd "$(dirname "$0")" && pwd)
python=${SYNAPSE_PYTHON:-python3}

if ! "$python" -c 'import synapse, cryptography' 2>/dev/null; then
	echo "build-image.sh: $python has no Synapse: set SYNAPSE_PYTHON to the python of a virtual environment" \
		"in which \`pip install matrix-synapse\` was run" >&2
	exit 1
fi
if ! docker version >/dev/null 2>&1; then
	echo "build-image.sh: no Docker engine answers; start one, or point DOCKER_HOST at one" >&2
	exit 2
fi
python=$("$python" -c 'import sys; print(sys.executable)')

image=$(mktemp)
trap 'rm -f "$image"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$python" - "$here" >"$image" <<'IMAGE'
import io, os, re, shutil, subprocess, sys, sysconfig, tarfile

SKIPPED = {"__pycache__", "test", "tests", "idlelib", "ensurepip", "tkinter"}
COMMANDS = ["sh", "mkdir", "cat", "head", "tr", "base64", "cksum"]
here = sys.argv[1]
files = {}  # by the path in the image: the path on this machine


def add(path, inside=None):
    path = os.path.normpath(path)
    if os.path.isfile(path):
        files[inside or path] = path
    for folder, folders, names in os.walk(path):
        folders[:] = [f for f in folders if f not in SKIPPED]
        for name in names:
            add(os.path.join(folder, name))


# What this Python imports from, itself, and what says that it is a virtual environment.
for scheme in ("stdlib", "platstdlib", "purelib", "platlib"):
    add(sysconfig.get_path(scheme))
for path in (sys.executable, sys._base_executable, os.path.realpath(sys.executable)):
    add(path)
add(os.path.join(sys.prefix, "pyvenv.cfg"))
for command in COMMANDS:
    add(shutil.which(command), "/bin/" + command)
for script in ("exec", "container"):
    add(os.path.join(here, script), "/synapse/" + script)

# The shared libraries of all of it, and the dynamic loader.
binaries = [p for inside, p in files.items() if ".so" in p or inside.startswith("/bin/") or "/bin/python" in p]
for binary in binaries:
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    for library in re.findall(r"(?:=> )?(/\S+) \(0x", listed):
        add(library)

with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", dereference=True) as image:
    for inside, path in sorted(files.items()):
        with open(path, "rb") as content:
            entry = tarfile.TarInfo(inside.lstrip("/"))
            entry.mode, entry.size = os.stat(path).st_mode & 0o777, os.stat(path).st_size
            image.addfile(entry, content)
    for inside, text in {
        "etc/passwd": b"root:x:0:0:root:/data:/bin/sh\n",
        "etc/nsswitch.conf": b"hosts: files dns\n",
        "tmp/.keep": b"",
    }.items():
        entry = tarfile.TarInfo(inside)
        entry.size = len(text)
        image.addfile(entry, io.BytesIO(text))
IMAGE
docker import \
	--change "ENV PATH=/bin SYNAPSE_PYTHON=$python HOME=/data" \
	--change 'EXPOSE 8008 8448' \
	--change 'ENTRYPOINT ["/bin/sh", "/synapse/container"]' \
	"$image" "$name" >/dev/null
echo "$name"
