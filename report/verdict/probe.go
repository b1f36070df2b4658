package verdict

// Outcome is what a server made of an event on which implementations are known to differ.
type Outcome string

// The outcomes of a probe.
const (
	// Accepted: the event is part of the room.
	Accepted Outcome = "accept"
	// Rejected: the event is no part of the room.
	Rejected Outcome = "reject"
	// Crashed: the server died, hung, or closed the connection without an answer.
	Crashed Outcome = "crash"
	// Undecided: a control failed, or two ways of looking contradict each other.
	Undecided Outcome = "inconclusive"
)

// Conclusive reports whether the server has made up its mind.
func (o Outcome) Conclusive() bool { return o == Accepted || o == Rejected || o == Crashed }

// Oracle is one way in which an outcome was looked at.
type Oracle struct {
	// Name says where: "state" (the state that the server tells over federation), "event" (whether it
	// hands the event out), "cited" (whether its next event builds upon it), "answer" (what it said when it
	// was sent the event).
	Name string `json:"name"`
	// Says is what it speaks for, or empty when it does not tell the two controls apart.
	Says Outcome `json:"says,omitempty"`
}

// Probe is the JSON value of AttrProbe.
type Probe struct {
	// Probe is the probe's ID, such as "ED12".
	Probe string `json:"probe"`
	// Requirement is the requirement that it belongs to.
	Requirement string `json:"requirement"`
	// Server is the alias of the server that was probed.
	Server string `json:"server"`
	// Outcome is what the server made of the event, and Expected what the recommended rule makes of it.
	Outcome  Outcome `json:"outcome"`
	Expected Outcome `json:"expected"`
	// EventID is the event's ID, and EventSHA256 the hash of its bytes on the wire in hexadecimal.
	EventID     string `json:"event_id"`
	EventSHA256 string `json:"event_sha256"`
	// Event is the event as it was on the wire; empty where it is no UTF-8 or too long to be handed on.
	Event string `json:"event,omitempty"`
	// Oracles are the ways in which the outcome was looked at, the strongest first.
	Oracles []Oracle `json:"oracles"`
	// HTTP is the status of the answer to the request that carried the event; 0 when there was none.
	HTTP int `json:"http"`
	// ControlBefore is the outcome of the honest event that was sent before the probe, and ControlAfter that
	// of the event with a bad signature that was sent behind it.
	ControlBefore Outcome `json:"control_before"`
	ControlAfter  Outcome `json:"control_after"`
	// Note says what else there is to know, such as how the server ended.
	Note string `json:"note,omitempty"`
}
