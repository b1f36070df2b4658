// Package matrix is the wire: canonical JSON, identifiers, account keys, events, signatures and
// signed federation requests, as room version 12 and the room versions built on it define them.
//
// It decides what bytes mean and whether a signature is valid. It does not decide whether an event
// is allowed; that is the business of a homeserver's authorization rules.
//
// Everything that reads bytes from a peer is strict by default. Where the Matrix specification asks
// for tolerance (padded base64, integral floats in old JSON) there is a second function that says so
// in its name.
package matrix
