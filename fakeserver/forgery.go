package fakeserver

import "countersign/matrix"

// Forgery is a deviation from the event that an honest server would build. The zero value is honest.
// A forgery sets one field, or several that together are one deviation; everything else about the
// event stays as an honest author would have it: another sender brings the auth events of that
// sender, other content the hash and the signatures of that content.
//
// String fields may hold templates, which are replaced when the event is built:
//
//	{key} {name} {domain}   the sender's account key, account name and server
//	{sender}                the sender's user ID in the room
//	{std-key}               the account key in the standard alphabet of base64
//	{alias-1} to {alias-3}  the account key with its last character's unused bits set
//	{mixed-key}             the account key with one of its characters in the standard alphabet
//	{lower-key} {hex-key} {base58-key}  the account key in lower case, in hexadecimal, in base58
//	{key-16} {key-31} {key-33} {key-64} {key-200}  that many bytes, which begin with the account key's
//	{off-curve}             43 characters that encode no point of the curve
//	{name-43}               43 lower-case characters that encode no point of the curve
//	{server-key-id}         the ID of the server's signing key
//	{sig}                   the honest signature, in SignatureJSON and ExtraSignatures
//	{room} {event}          the room ID; the event ID, in SignatureJSON and LateEdits
//	{auth-event} {last-auth-event}  the first and the last of the event's auth events
//	{long-domain-210} {long-domain-211}  server names of that many bytes
//	{victim} {victim-key} {victim-name} {victim-domain}  see Cast.Victim
//	{other} {other-key} {other-name}     see Cast.Other
//	{cosigner} {cosigner-key}            the first of Draft.CoSigners
//	{stranger} {stranger-key}            see Cast.Stranger
//	{server-key}                         the key through which the event is sent
//	{std-server-key} {server-alias-1} to {server-alias-3}  it in other spellings, as with {key}
//	{server-key-31} {server-key-33}      that many bytes, which begin with the server key's
//	{small-order}                        43 characters that encode a point of small order
//	{subject}                            the key that a participation event is about
//	{authoriser} {std-authoriser}        the key that authorises a request
//	{other-server} {requested-server} {revoked-server} {unknown-server} {foreign-server} {victim-server}
//	                                     the text of a key of the cast
//	{elsewhere}                          see Cast.Elsewhere
//	{other-room} {other-event}           see Cast.OtherRoom
//
// In rooms of version 12 the sender's server signs in place of the account key. A forgery that means
// nothing in the room's version is an error and not an honest event.
type Forgery struct {
	// Sender sends the event as another user ID, a membership event about oneself included. The
	// sender's key signs; the signature is filed under the localpart of the ID as it is written (in
	// version 12 under the server's name).
	Sender string
	// StateKey replaces the state key, while the sender stays.
	StateKey string
	// Authoriser sets content.join_authorised_via_users_server, and co-signs with the account key of
	// the user that it names if that is the other or the stranger, wherever the ID claims it to live.
	Authoriser string
	// Edits change the event before it is hashed and signed, as its author would. A value that has no
	// canonical form (a fraction, a duplicate key, bytes that are not UTF-8) is hashed, signed and
	// sent as it is written.
	Edits []Edit

	// ByOther has the event sent, honestly, by the other; see Cast.Other.
	ByOther bool
	// Through has the event sent, honestly, through another server key: in rooms of MSC4345 by the user of
	// that key, in rooms of MSC4348 co-signed by it.
	Through Party
	// Subject replaces the text of the server key that a participation event of the subject itself is about,
	// in the state key, in the sender of rooms of MSC4345, and where the server's signature is filed.
	Subject string
	// AuthorisedBy has a request authorised, named and signed, by another server.
	AuthorisedBy Party
	// Cite chooses the participation that the event cites in auth_events.
	Cite Citation

	// SignWithServerKeyOnly signs with the origin's server key, filed under the server's name, as room
	// versions before account keys did, and leaves out the account key's signature.
	SignWithServerKeyOnly bool
	// SignWith makes the sender's signature with another key. It is filed as if the sender had made it.
	SignWith Key
	// SignWithServer makes the sender's signature with a server key. It is filed as if the sender had made it.
	SignWithServer Party
	// OmitSenderSignature leaves out the sender's signature alone.
	OmitSenderSignature bool
	// SwapSignatures files the signatures of the sender's account and of the co-signing server under each
	// other's names.
	SwapSignatures bool
	// Edge makes the sender's signature an edge case of Ed25519. When it is one of the key, the event
	// is sent by the user of that account key, who may well have no private key.
	Edge Edge
	// SignOver makes the sender's signature cover other bytes than the redacted event.
	SignOver Bytes
	// SignatureEntity replaces the name that the sender's signature is filed under.
	SignatureEntity string
	// SignatureKeyID replaces the key ID that the sender's signature is filed under.
	SignatureKeyID string
	// SignatureEncoding spells the sender's signature in another way than unpadded standard base64.
	SignatureEncoding Encoding
	// SignatureCut removes as many bytes from the end of the sender's signature.
	SignatureCut int
	// SignatureAdd appends as many zero bytes to the sender's signature.
	SignatureAdd int
	// FlipSignatureBits inverts bits of the sender's signature: 0 to 255 are in R, 256 to 511 in S.
	FlipSignatureBits []int
	// SignatureJSON replaces the value of the sender's signature by JSON text of any type.
	SignatureJSON string
	// SecondSignature puts a second value under the key ID of the sender's signature, so that the
	// key occurs twice in the object.
	SecondSignature Second
	// ExtraSignatures are filed beside the sender's signature, which stays.
	ExtraSignatures []Signature
	// OmitSignatures leaves the signatures property out.
	OmitSignatures bool
	// EmptySignatures sends an empty signatures property.
	EmptySignatures bool
	// EmptyEntity sends an empty object of signatures under the sender's name.
	EmptyEntity bool

	// OmitCoSignature leaves out the signature of everyone but the sender.
	OmitCoSignature bool
	// CoSignWith makes the co-signatures with another key, filed as if the co-signer had made them.
	CoSignWith Key
	// CoSignWithServerKey replaces the co-signatures by one of the server's key under the server's
	// name.
	CoSignWithServerKey bool
	// CoSignAsOther replaces the co-signatures by an honest one of the other (see Cast), filed under
	// the other's own name.
	CoSignAsOther bool
	// CoSignatureEntity replaces the name that the co-signature is filed under.
	CoSignatureEntity string
	// CoSignatureKeyID replaces the key ID that the co-signature is filed under.
	CoSignatureKeyID string
	// CoSignatureJSON replaces the value of the co-signature by JSON text.
	CoSignatureJSON string

	// CoSignature is about the signature of the server that sends an event of a portable account (MSC4348).
	CoSignature CoSignature
	// Authorisation is about the signature of the server that authorises a request (MSC4345).
	Authorisation CoSignature

	// Unsigned sets the unsigned property, which nothing covers, to JSON text.
	Unsigned string
	// LateEdits change the event after it was signed, as somebody on the way would.
	LateEdits []Edit
	// Rehash computes the content hash anew after LateEdits; the signatures stay.
	Rehash bool
	// RecosignedBy has a server sign the event anew after LateEdits, beside the signatures that it has.
	RecosignedBy Party
	// Redacted sends the redacted form of the event.
	Redacted bool
	// RawEdit changes the bytes of the finished event in any way whatever.
	RawEdit func(event []byte) []byte

	// TemplateEdits change the event that make_join, make_knock or make_leave is answered with; the
	// other server builds and signs the event itself. Only [Room.ForgeTemplates] looks at it.
	TemplateEdits []Edit
	// Courier has the event delivered by a server of another name than the sender's. It changes nothing
	// about the event: whoever delivers it must use another fake server, which [Cast.Elsewhere] names.
	Courier bool
}

// Key chooses who signs.
type Key int

// The keys that can sign in place of the honest one.
const (
	// HonestKey is the key that should sign.
	HonestKey Key = iota
	// ServerKey is the key of the sender's server.
	ServerKey
	// AccountKey is the sender's account key, which in rooms of version 12 should not sign.
	AccountKey
	// OtherKey is the account key of another user of the same server; see Cast.Other.
	OtherKey
	// StrangerKey is the account key of nobody; see Cast.Stranger.
	StrangerKey
)

// Bytes chooses what a signature covers.
type Bytes int

// What a signature can cover.
const (
	// RedactedEvent is what a signature should cover.
	RedactedEvent Bytes = iota
	// WholeEvent is the event without its signatures, but not redacted.
	WholeEvent
	// WithUnsigned is the redacted event with an unsigned property, which the event also has.
	WithUnsigned
	// WithEventID is the redacted event with an event_id property.
	WithEventID
	// UnsortedKeys is the redacted event with its properties in reverse order.
	UnsortedKeys
	// OtherEvent is the redacted form of the same event one millisecond later.
	OtherEvent
)

// Encoding is a spelling of a signature.
type Encoding int

// The spellings of a signature.
const (
	// StandardBase64 is unpadded base64 in the standard alphabet, canonical.
	StandardBase64 Encoding = iota
	// URLSafeBase64 uses the URL-safe alphabet; the signature is made to contain one of the characters
	// in which the alphabets differ.
	URLSafeBase64
	// PaddedBase64 ends in "==".
	PaddedBase64
	// TrailingBitsBase64 has bits set in the last character that encode nothing.
	TrailingBitsBase64
	// DotsInBase64 has four dots in the middle, which some decoders skip.
	DotsInBase64
	// NewlineInBase64 has a line break in the middle, which some decoders skip.
	NewlineInBase64
)

// Second is a second value under one key ID.
type Second int

// The values under a key ID that occurs twice.
const (
	// OnlyOne is no second value.
	OnlyOne Second = iota
	// BadSecond follows the good signature by a bad one.
	BadSecond
	// BadFirst puts a bad signature before the good one.
	BadFirst
)

// Signature is a signature that is filed as it is.
type Signature struct {
	// Entity and KeyID are where it is filed; templates are expanded.
	Entity, KeyID string
	// JSON is its value as JSON text; templates are expanded.
	JSON string
}

// Cast are the others whom a forgery can name. What is left empty [Room.Forge] chooses.
type Cast struct {
	// Victim is a user of the server under test, in the room. The room chooses the creator, or else
	// the first joined member of another server.
	Victim string
	// VictimName is the victim's account name; unknown when empty.
	VictimName string
	// Other is another user of the sender's server, who does not co-sign the event. The room chooses
	// the first who is joined, or else makes one, who is not.
	Other *User
	// Stranger is a user of the sender's server who is in no room. The room makes one.
	Stranger *User
	// OtherServer is the key of another accepted server, which this server holds.
	OtherServer matrix.ServerKeyPair
	// RequestedServer is the key of a server that has requested to participate, and no more. Of it, of
	// OtherServer and of RevokedServer the room chooses one of the keys that its server holds.
	RequestedServer matrix.ServerKeyPair
	// RevokedServer is the key of a server that was revoked.
	RevokedServer matrix.ServerKeyPair
	// UnknownServer is a key that the room has never heard of. The room mints it.
	UnknownServer matrix.ServerKeyPair
	// ForeignServer is the key of a server that is accepted in OtherRoom only. The room chooses the key of
	// OtherRoom.
	ForeignServer matrix.ServerKeyPair
	// VictimServer is the key of the victim's server. The room chooses that of the victim, if it is in the
	// room.
	VictimServer matrix.ServerName
	// Elsewhere is the name of another fake server; "elsewhere.invalid" when empty.
	Elsewhere string
	// OtherRoom is another room of this server, for replays.
	OtherRoom *Room
}
