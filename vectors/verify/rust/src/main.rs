//! Asks Rust's libraries about the vectors, and prints one line of JSON per library.
//!
//!     cargo run -- SIGNATURES KEYS
//!
//! A line of the file of signatures is an ID, a public key, a signature and a message; one of the file of account keys is
//! an ID and a text: in hexadecimal but for the ID, separated by spaces. So no parser of JSON has to be built.

use base64::{
    alphabet,
    engine::{general_purpose::NO_PAD, general_purpose::GeneralPurpose, general_purpose::GeneralPurposeConfig, DecodePaddingMode},
    Engine,
};
use std::{env, error::Error, fs};

/// The versions of a crate in Cargo.lock, which is what this program was built with, oldest first.
fn versions(name: &str) -> Vec<String> {
    let lock = include_str!("../Cargo.lock");
    let entries = lock.split("[[package]]").filter(|e| e.contains(&format!("name = \"{name}\"")));
    let numbers = entries.filter_map(|e| e.split("version = \"").nth(1)?.split('"').next());
    numbers.map(|n| format!("{name} {n}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
}

/// Prints which lines of a file a library accepts.
fn report(id: &str, version: &str, file: &str, lines: &str, accepts: impl Fn(&[&str]) -> Option<bool>) {
    let accepted: Vec<String> = lines
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| accepts(fields).unwrap_or(false))
        .map(|fields| format!("\"{}\"", fields[0]))
        .collect();
    println!("{{\"id\":\"{id}\",\"version\":\"{version}\",\"accepts\":{{\"{file}\":[{}]}}}}", accepted.join(","));
}

/// The fields of a line of the file of signatures.
fn signed(fields: &[&str]) -> Option<([u8; 32], [u8; 64], Vec<u8>)> {
    Some((unhex(fields[1])?.try_into().ok()?, unhex(fields[2])?.try_into().ok()?, unhex(fields[3])?))
}

/// Two major versions of one library have the same functions.
macro_rules! dalek {
    ($library:ident, $id:literal, $version:expr, $lines:expr) => {{
        use $library::{Signature, Verifier, VerifyingKey};
        report($id, $version, "ed25519", $lines, |fields| {
            let (key, signature, message) = signed(fields)?;
            Some(VerifyingKey::from_bytes(&key).ok()?.verify(&message, &Signature::from_bytes(&signature)).is_ok())
        });
        report(concat!($id, "-strict"), $version, "ed25519", $lines, |fields| {
            let (key, signature, message) = signed(fields)?;
            Some(VerifyingKey::from_bytes(&key).ok()?.verify_strict(&message, &Signature::from_bytes(&signature)).is_ok())
        });
    }};
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: verify SIGNATURES KEYS";
    let signatures = fs::read_to_string(env::args().nth(1).ok_or(usage)?)?;
    let keys = fs::read_to_string(env::args().nth(2).ok_or(usage)?)?;
    let dalek = versions("ed25519-dalek");
    dalek!(dalek2, "dalek-2", &dalek[0], &signatures);
    dalek!(dalek3, "dalek-3", &dalek[1], &signatures);

    // As ruma configures it: padding is optional, and trailing bits do not matter.
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let base64 = &versions("base64")[0];
    for (id, config) in [("rust-base64", NO_PAD), ("rust-base64-lenient", lenient)] {
        let engine = GeneralPurpose::new(&alphabet::URL_SAFE, config);
        report(id, base64, "account-keys", &keys, |fields| {
            Some(engine.decode(unhex(fields.get(1)?)?).ok()?.len() == 32)
        });
    }
    Ok(())
}
