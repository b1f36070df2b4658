package matrix

// protectedField tells whether redaction keeps a top-level property of an event (room version 11,
// "Redactions").
func protectedField(key []byte) bool {
	switch string(key) {
	case "event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures",
		"depth", "prev_events", "auth_events", "origin_server_ts":
		return true
	}
	return false
}

// protectedContent tells whether redaction keeps a property of the content of an event of a type.
func protectedContent(identity Identity, eventType string, key []byte) bool {
	switch eventType {
	case "m.room.member":
		// third_party_invite is kept too, reduced to its "signed" property; see appendRedactedContent.
		return string(key) == "membership" || string(key) == "join_authorised_via_users_server"
	case "m.room.create":
		return true
	case "m.room.join_rules":
		return string(key) == "join_rule" || string(key) == "allow"
	case "m.room.power_levels":
		switch string(key) {
		case "ban", "events", "events_default", "invite", "kick", "redact", "state_default", "users", "users_default":
			return true
		case "accept":
			return protectsAcceptLevel(identity)
		}
	case ParticipationType:
		return protectsParticipation(identity, key)
	case "m.room.history_visibility":
		return string(key) == "history_visibility"
	case "m.room.redaction":
		return string(key) == "redacts"
	}
	return false
}

// protectsAcceptLevel is D-37: with participation, the accept level is kept as the other levels are,
// although MSC4345 does not say so.
func protectsAcceptLevel(identity Identity) bool { return hasParticipation(identity) }

// protectsParticipation tells whether redaction keeps a property of a participation event's content
// (MSC4345, "The participation property", "The unverified_domain property").
func protectsParticipation(identity Identity, key []byte) bool {
	switch string(key) {
	case "participation", "unverified_domain":
		return hasParticipation(identity)
	case "request_authorised_via_server":
		return protectsAuthorisingServer(identity)
	}
	return false
}

// protectsAuthorisingServer is D-36: the server that authorises a request is kept, although MSC4345 does
// not say so. Without it redacted requests would not be authorised, and the signatures would not cover
// it.
func protectsAuthorisingServer(identity Identity) bool { return hasParticipation(identity) }

// appendRedactedContent appends what redaction leaves of a canonical content object. A
// third_party_invite without a signed property leaves nothing. (The text does not say so, and servers
// differ: some keep an empty object, which gives the event another ID.)
func appendRedactedContent(dst []byte, identity Identity, eventType string, content []byte) []byte {
	if eventType == "m.room.create" && len(content) > 0 && content[0] == '{' {
		return append(dst, content...)
	}
	b := objectBuilder{append(dst, '{')}
	empty := true
	add := func(text []byte) {
		if !empty {
			b.buf = append(b.buf, ',')
		}
		empty = false
		b.buf = append(b.buf, text...)
	}
	for f := range fields(content) {
		if protectedContent(identity, eventType, f.key) {
			add(f.text)
			continue
		}
		if eventType == "m.room.member" && string(f.key) == "third_party_invite" {
			for inner := range fields(f.value) {
				if string(inner.key) == "signed" {
					add([]byte(`"third_party_invite":{`))
					b.buf = append(b.buf, inner.text...)
					b.buf = append(b.buf, '}')
				}
			}
		}
	}
	return b.close()
}

// appendRedacted appends the redacted form of a canonical event, leaving out the top-level
// properties that drop names.
func appendRedacted(dst []byte, identity Identity, eventType string, event []byte, drop func(key []byte) bool) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for f := range fields(event) {
		if !protectedField(f.key) || drop(f.key) {
			continue
		}
		if len(dst) > start {
			dst = append(dst, ',')
		}
		if string(f.key) == "content" {
			dst = append(dst, `"content":`...)
			dst = appendRedactedContent(dst, identity, eventType, f.value)
			continue
		}
		dst = append(dst, f.text...)
	}
	return append(dst, '}')
}

func dropNothing([]byte) bool      { return false }
func dropSignatures(k []byte) bool { return string(k) == "signatures" }

// Redact returns the canonical redacted form of an event (room version 11 and later). It is that of
// room versions without participation; RoomVersion.Redact is that of any.
func Redact(event []byte) ([]byte, error) { return RoomVersion12().Redact(event) }

// Redact returns the canonical redacted form of an event of a room version.
func (v RoomVersion) Redact(event []byte) ([]byte, error) {
	c, err := requireObject(event, CanonicalJSON)
	if err != nil {
		return nil, err
	}
	eventType, _ := stringValue(lookup(c, "type"))
	return appendRedacted(make([]byte, 0, len(c)), v.Identity, eventType, c, dropNothing), nil
}
