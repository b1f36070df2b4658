"""Asks Python's libraries about the vectors in a folder, and prints one line of JSON per library.

    python3 verify.py FOLDER [LIBSODIUM]

LIBSODIUM is a shared library of libsodium to ask besides; without it the system's is asked, if there is one.
"""

import ctypes
import ctypes.util
import json
import pathlib
import sys


def vectors(folder, name):
    return json.loads((folder / f"{name}.json").read_text())["vectors"]


def accepted(cases, accepts):
    """The IDs of the vectors that a predicate accepts; an exception is a refusal."""
    found = []
    for case in cases:
        try:
            good = accepts(case)
        except Exception:
            good = False
        if good:
            found.append(case["id"])
    return found


def signed(case):
    i = case["input"]
    return bytes.fromhex(i["public_key"]), i["message"].encode(), bytes.fromhex(i["signature"])


def report(name, version, **files):
    print(json.dumps({"id": name, "version": version, "accepts": {f.replace("_", "-"): ids for f, ids in files.items()}}))


def missing(name, error):
    print(json.dumps({"id": name, "missing": f"{type(error).__name__}: {error}"}))


def pynacl(folder):
    import nacl
    from nacl.signing import VerifyKey

    def accepts(case):
        key, message, signature = signed(case)
        VerifyKey(key).verify(message, signature)
        return True

    report("pynacl", f"PyNaCl {nacl.__version__}", ed25519=accepted(vectors(folder, "ed25519"), accepts))


def openssl(folder):
    import cryptography
    from cryptography.hazmat.backends.openssl import backend
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    def accepts(case):
        key, message, signature = signed(case)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True

    version = f"{backend.openssl_version_text().split(' ')[0]} {backend.openssl_version_text().split(' ')[1]}"
    report("openssl", f"{version} (cryptography {cryptography.__version__})", ed25519=accepted(vectors(folder, "ed25519"), accepts))


def unpaddedbase64(folder):
    import importlib.metadata

    from unpaddedbase64 import decode_base64

    report(
        "unpaddedbase64",
        f"unpaddedbase64 {importlib.metadata.version('unpaddedbase64')}",
        account_keys=accepted(vectors(folder, "account-keys"), lambda c: len(decode_base64(c["input"]["text"])) == 32),
    )


def canonicaljson(folder):
    import canonicaljson as library

    def accepts(case):
        made = library.encode_canonical_json(json.loads(bytes.fromhex(case["input"]["document_hex"])))
        return "output" not in case or made.decode() == case["output"]["canonical"]

    report("canonicaljson", f"canonicaljson {library.__version__}", canonical_json=accepted(vectors(folder, "canonical-json"), accepts))


def libsodium(folder, path):
    path = path or ctypes.util.find_library("sodium")
    if not path:
        raise FileNotFoundError("no shared library of libsodium")
    library = ctypes.CDLL(path)
    if library.sodium_init() < 0:
        raise RuntimeError(f"{path} does not start")
    library.sodium_version_string.restype = ctypes.c_char_p
    version = library.sodium_version_string().decode()
    verify = library.crypto_sign_ed25519_verify_detached
    verify.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulonglong, ctypes.c_char_p]

    def accepts(case):
        key, message, signature = signed(case)
        return verify(signature, message, len(message), key) == 0

    numbers = tuple(int(n) for n in version.split(".")[:3])
    name = "libsodium" if numbers <= (1, 0, 22) else "libsodium-next"
    report(name, f"libsodium {version}", ed25519=accepted(vectors(folder, "ed25519"), accepts))


def main():
    folder = pathlib.Path(sys.argv[1])
    path = sys.argv[2] if len(sys.argv) > 2 else None
    for name, ask in [
        ("pynacl", lambda: pynacl(folder)),
        ("openssl", lambda: openssl(folder)),
        ("unpaddedbase64", lambda: unpaddedbase64(folder)),
        ("canonicaljson", lambda: canonicaljson(folder)),
        ("libsodium", lambda: libsodium(folder, path)),
    ]:
        try:
            ask()
        except (ImportError, OSError, RuntimeError) as error:
            missing(name, error)


main()
