package matrix

// ParticipationType is the type of participation events, by its unstable name (MSC4345, "Unstable
// prefix"). Their state key is the text of the server key that they are about.
const ParticipationType = "org.matrix.msc4345.participation"

// Participation is what the room says of a server (MSC4345, "The participation property"). The empty
// Participation stands for a server of which the room says nothing.
type Participation string

// The participations that MSC4345 knows.
const (
	Requested Participation = "requested"
	Accepted  Participation = "accepted"
	Revoked   Participation = "revoked"
)

// ParticipationPlace is the place of a server's participation in the room state.
func ParticipationPlace(server ServerName) StateTuple {
	return StateTuple{ParticipationType, string(server)}
}

// IsParticipation reports whether the event is a participation event: a state event of that type in a
// room version that has them.
func (e *Event) IsParticipation() bool {
	return e.isState && e.eventType == ParticipationType && e.version.HasParticipation()
}

// Participation is content.participation of a participation event, which may be any word; it is empty
// when the property is not a string.
func (e *Event) Participation() Participation {
	return participationOf(e.content)
}

func participationOf(content []byte) Participation {
	s, _ := stringValue(lookup(content, "participation"))
	return Participation(s)
}

// RequestAuthorisedVia is content.request_authorised_via_server of a participation event, the text of
// the server key that must have co-signed a request (MSC4345, rules 1.1.1.3 and 1.1.1.4), or empty.
func (e *Event) RequestAuthorisedVia() ServerName {
	return requestAuthorisedVia(e.content)
}

func requestAuthorisedVia(content []byte) ServerName {
	s, _ := stringValue(lookup(content, "request_authorised_via_server"))
	return ServerName(s)
}

// UnverifiedDomain is content.unverified_domain of a participation event: where the server says that it
// can be reached, which nobody has proved ("The unverified_domain property"). ok is false when there is
// none or when it is not a server name.
func (e *Event) UnverifiedDomain() (domain ServerName, ok bool) {
	text, _ := stringValue(lookup(e.content, "unverified_domain"))
	domain, err := ParseServerName(text)
	return domain, err == nil
}

// citedParticipations are the participations that an event has in its auth_events because of what it
// is. D-42: a participation event has that of its subject, and a request also that of the server that
// authorises it; other events have none.
func citedParticipations(eventType string, stateKey *string, content []byte) (servers []ServerName) {
	if eventType != ParticipationType || stateKey == nil {
		return nil
	}
	servers = append(servers, ServerName(*stateKey))
	if participationOf(content) == Requested {
		if via := requestAuthorisedVia(content); via != "" {
			servers = append(servers, via)
		}
	}
	return servers
}
