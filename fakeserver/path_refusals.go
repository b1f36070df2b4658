package fakeserver

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// refusal is a reason why some forgeries cannot take a path.
type refusal struct {
	applies func(row NamedForgery) bool
	reason  string
}

// always are the reasons why a forgery takes no path at all.
func always() []refusal {
	return []refusal{
		{func(row NamedForgery) bool { return row.On == TemplateEvent }, "a template is not an event; it travels in the answer to make_join"},
		{func(row NamedForgery) bool { return row.On == RequestTemplateEvent }, "a template is not an event; it travels in the answer to make_participation"},
		{func(row NamedForgery) bool { return row.Forgery.Courier }, "nothing is forged but who delivers the event, which takes another server"},
	}
}

// requests are the refusals of a path on which the event is part of a request.
func requests(more ...refusal) []refusal {
	return slices.Concat(always(), more, []refusal{
		{unsignable, "the request's signature covers the canonical form of its body, which has none with such text in it"},
	})
}

// answers are the refusals of a path on which the event is part of an answer.
func answers(more ...refusal) []refusal {
	return slices.Concat(always(), more, []refusal{
		{notText, "an answer that is not UTF-8 is no JSON, whatever event spoils it"},
	})
}

// unsignable reports whether an edit of the author leaves a body without a canonical form, even a
// lenient one.
func unsignable(row NamedForgery) bool {
	return slices.ContainsFunc(row.Forgery.Edits, func(e Edit) bool {
		_, err := matrix.LenientCanonicalJSON([]byte(`{"n":` + e.JSON + `}`))
		return e.JSON != "" && err != nil
	})
}

func notText(row NamedForgery) bool {
	return slices.ContainsFunc(row.Forgery.Edits, func(e Edit) bool { return !utf8.ValidString(e.JSON) })
}

func aboutCreate(row NamedForgery) bool { return row.On == CreateEvent }

// aboutOthers reports whether a forgery is about another kind of event than a membership of the
// sender.
func aboutOthers(row NamedForgery) bool {
	switch row.On {
	case AnyEvent, StateEvent, JoinEvent:
		return false
	}
	return true
}

// aboutContentOf finds the forgeries that give a membership event the membership that it has.
func aboutContentOf(membership string) func(NamedForgery) bool {
	return func(row NamedForgery) bool {
		return slices.ContainsFunc(slices.Concat(row.Forgery.Edits, row.Forgery.LateEdits), func(e Edit) bool {
			return e.Path == "content.membership" && gjson.Parse(e.JSON).Str == membership
		})
	}
}

// aboutParticipation reports whether nothing speaks against an event but which servers participate.
func aboutParticipation(row NamedForgery) bool {
	return row.Forgery.Through != Nobody || row.Forgery.Cite != CurrentParticipation
}

// ofOwnServer reports whether a forgery revokes the server that made the room, in which a homeserver that joins finds
// nobody else who could go on.
func ofOwnServer(row NamedForgery) bool {
	return row.On == RevokeEvent && row.Forgery.StateKey == "{victim-server}"
}

// notARequest reports whether a forgery is about another event than the request of a server.
func notARequest(row NamedForgery) bool { return row.On != RequestEvent }

// aboutAuthorisation reports whether a forgery is about the signature of the server that authorises a request.
func aboutAuthorisation(row NamedForgery) bool { return row.Forgery.Authorisation.asked() }

// newIdentity reports whether a forgery makes up a sender.
func newIdentity(row NamedForgery) bool {
	f := row.Forgery
	return f.Edge.ChangesKey() || f.Sender != "" && f.Sender != "{victim}"
}

// aboutSignatures reports whether a forgery deviates in nothing but signatures, or in what only a
// signature would show.
func aboutSignatures(row NamedForgery) bool {
	f := row.Forgery
	wellFormed := func(name string) bool { return strings.Contains(f.Sender, name) }
	if f.Edge != (Edge{}) || slices.ContainsFunc([]string{"{off-curve}", "{lower-key}", "{name-43}"}, wellFormed) {
		return true // the sender is spelt like an account key; whether it is one, its signature shows
	}
	if f.Unsigned != "" || f.RawEdit != nil || len(f.Edits) > 0 && row.On != JoinEvent {
		return false
	}
	return f.Sender == "" && f.StateKey == ""
}
