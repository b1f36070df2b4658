"""The other opinion of TestAgreesWithPython: answers one JSON request per line of standard input.

Needs the packages signedjson and canonicaljson (which bring unpaddedbase64 and PyNaCl). Canonical JSON
and signatures are theirs; redaction is written here from the room version 11 text.
"""

import hashlib
import json
import sys

from canonicaljson import encode_canonical_json
from signedjson.key import decode_signing_key_base64, get_verify_key
from signedjson.sign import sign_json, verify_signed_json
from unpaddedbase64 import decode_base64, encode_base64

EVENT_KEYS = set(
    "event_id type room_id sender state_key content hashes signatures depth prev_events auth_events origin_server_ts".split()
)
CONTENT_KEYS = {
    "m.room.member": "membership join_authorised_via_users_server",
    "m.room.join_rules": "join_rule allow",
    "m.room.power_levels": "ban events events_default invite kick redact state_default users users_default",
    "m.room.history_visibility": "history_visibility",
    "m.room.redaction": "redacts",
}


def without(obj, *keys):
    return {k: v for k, v in obj.items() if k not in keys}


def redact(event):
    out = {k: v for k, v in event.items() if k in EVENT_KEYS}
    if out["type"] != "m.room.create":
        keep = CONTENT_KEYS.get(out["type"], "").split()
        content = {k: v for k, v in event["content"].items() if k in keep}
        third = event["content"].get("third_party_invite")
        if out["type"] == "m.room.member" and isinstance(third, dict) and "signed" in third:
            content["third_party_invite"] = {"signed": third["signed"]}
        out["content"] = content
    return out


def signing_key(request):
    return decode_signing_key_base64("ed25519", request["version"], request["seed"])


def canonical(request):
    return encode_canonical_json(json.loads(request["doc"])).decode("utf-8")


def sign(request):
    signed = sign_json(json.loads(request["doc"]), request["name"], signing_key(request))
    return encode_canonical_json(signed).decode("utf-8")


def verify(request):
    verify_signed_json(json.loads(request["doc"]), request["name"], get_verify_key(signing_key(request)))
    return "ok"


def content_hash_input(request):
    return encode_canonical_json(without(json.loads(request["doc"]), "unsigned", "signatures", "hashes")).decode("utf-8")


def event(request):
    """An event without hashes and signatures: hashed, signed and with its ID."""
    doc = json.loads(request["doc"])
    digest = hashlib.sha256(encode_canonical_json(without(doc, "unsigned", "signatures", "hashes"))).digest()
    doc["hashes"] = {"sha256": encode_base64(digest)}
    pruned = without(redact(doc), "signatures", "unsigned")
    doc["signatures"] = sign_json(pruned, request["name"], signing_key(request))["signatures"]
    reference = hashlib.sha256(encode_canonical_json(without(redact(doc), "signatures", "unsigned"))).digest()
    return "$" + encode_base64(reference, urlsafe=True) + " " + encode_canonical_json(doc).decode("utf-8")


def x_matrix(request):
    obj = {k: request[k] for k in ("method", "uri", "origin", "destination")}
    if request["doc"]:
        obj["content"] = json.loads(request["doc"])
    signatures = sign_json(obj, request["origin"], signing_key(request))["signatures"][request["origin"]]
    (key, signature), = signatures.items()
    return 'X-Matrix origin="%s",destination="%s",key="%s",sig="%s"' % (
        request["origin"], request["destination"], key, signature
    )


def base64(request):
    return encode_base64(decode_base64(request["doc"]))


OPERATIONS = {f.__name__: f for f in (canonical, sign, verify, content_hash_input, event, x_matrix, base64)}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"result": OPERATIONS[request["op"]](request)}
    except Exception as e:  # the question may be one that Python refuses, too
        answer = {"error": "%s: %s" % (type(e).__name__, e)}
    print(json.dumps(answer), flush=True)
