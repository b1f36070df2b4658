// Asks Node's libraries about the vectors in a folder, and prints one line of JSON per library.
//
//     node verify.mjs FOLDER [NODE_MODULES]

import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [folder, modules = path.join(import.meta.dirname, "node_modules")] = process.argv.slice(2);
const resolver = createRequire(path.join(path.resolve(modules), "x.js"));

const vectors = (name) => JSON.parse(readFileSync(path.join(folder, `${name}.json`), "utf8")).vectors;
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const print = (line) => console.log(JSON.stringify(line));

// accepted are the IDs of the vectors that a predicate accepts; an exception is a refusal.
function accepted(name, accepts) {
  const good = (vector) => {
    try {
      return accepts(vector.input);
    } catch {
      return false;
    }
  };
  return vectors(name).filter(good).map((vector) => vector.id);
}

const signatures = (accepts) => ({
  ed25519: accepted("ed25519", (input) => accepts(bytes(input.signature), new TextEncoder().encode(input.message), bytes(input.public_key))),
});

async function ask(id, measure) {
  try {
    print({ id, ...(await measure()) });
  } catch (error) {
    print({ id, missing: String(error.message).split("\n")[0] });
  }
}

// load imports a module of the folder of modules, and says its version.
async function load(name, entry = name) {
  const version = JSON.parse(readFileSync(path.join(modules, name, "package.json"), "utf8")).version;
  return { library: await import(pathToFileURL(resolver.resolve(entry))), version: `${name} ${version}` };
}

await ask("node-openssl", () => {
  const header = Buffer.from("302a300506032b6570032100", "hex"); // SubjectPublicKeyInfo of Ed25519
  const key = (raw) => createPublicKey({ key: Buffer.concat([header, raw]), format: "der", type: "spki" });
  return {
    version: `OpenSSL ${process.versions.openssl} (Node.js ${process.versions.node})`,
    accepts: signatures((signature, message, raw) => verify(null, message, key(raw), signature)),
  };
});

await ask("node-buffer", () => ({
  version: `Node.js ${process.versions.node}`,
  accepts: { "account-keys": accepted("account-keys", (input) => Buffer.from(input.text, "base64url").length === 32) },
}));

await ask("tweetnacl", async () => {
  const { library, version } = await load("tweetnacl");
  const { sign } = library.default;
  return { version, accepts: signatures((signature, message, key) => sign.detached.verify(message, signature, key)) };
});

for (const [id, options] of [["noble-ed25519", {}], ["noble-ed25519-strict", { zip215: false }]]) {
  await ask(id, async () => {
    const { library, version } = await load("@noble/ed25519");
    const { sha512 } = (await load("@noble/hashes", "@noble/hashes/sha2.js")).library;
    library.hashes.sha512 = sha512;
    return { version, accepts: signatures((signature, message, key) => library.verify(signature, message, key, options)) };
  });
}

for (const [id, options] of [["noble-curves", {}], ["noble-curves-strict", { zip215: false }]]) {
  await ask(id, async () => {
    const { library, version } = await load("@noble/curves", "@noble/curves/ed25519.js");
    return { version, accepts: signatures((signature, message, key) => library.ed25519.verify(signature, message, key, options)) };
  });
}
