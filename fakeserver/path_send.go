package fakeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"countersign/matrix"
)

// SendPath delivers an event in a transaction.
func SendPath() DeliveryPath {
	return DeliveryPath{
		Name: "send",
		deliver: func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
			result, err := r.server.SendTransaction(ctx, dest, []json.RawMessage{f.PDU}, nil)
			if err != nil {
				return Delivered{}, unsignableError(err)
			}
			return Delivered{Response: result.Response}, nil
		},
		refuses: requests(refusal{aboutCreate, "a create event is in no room that the other server knows; it only comes with a room's state"}),
	}
}

// HandedInPath delivers a membership event as the second step of a handshake, PUT send_join, send_knock
// or send_leave, or with Requests the request of a server to participate, send_participation. The other server is in the room, and is asked for no template: the forgery is in the
// event. A knock needs a room with that join rule, a leave an author who has knocked.
func HandedInPath(what Carries) DeliveryPath {
	endpoint := "send_" + what.Membership()
	p := DeliveryPath{
		Name:    endpoint,
		Carries: what,
		deliver: func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
			h := Handshake{server: r.server, Via: dest, Membership: what.Membership(), RoomID: r.id}
			response, err := h.Submit(ctx, f.EventID, f.PDU)
			return Delivered{Response: response}, unsignableError(err)
		},
		refuses: requests(
			refusal{aboutOthers, "the handshake takes what a user does to their own membership, and this is a forgery in another event"},
			refusal{aboutContentOf(what.Membership()), "that change is none to this membership"},
		),
	}
	switch what {
	case Requests:
		p.Name = "send_participation"
		p.refuses = requests(
			refusal{notARequest, "the handshake takes the request of a server, and this is a forgery in another event"},
			refusal{aboutAuthorisation, "the signature that is forged is still to be made, by the server that the request is handed to"},
		)
		p.deliver = handInRequest
	case Joins:
		p.Name = "send_join_request" // send_join is the answer, which carries a whole room
	case Leaves:
		p.refuses = append(p.refuses, refusal{newIdentity, "whom nobody has let in or invited has nothing to leave, so that their leave is refused in any case"})
	}
	return p
}

// InvitePath delivers an invitation to the server of its target, which is not in the room: PUT
// v2/invite. The target's account key is not known yet, so that no signature counts at this point
// (MSC4243, the adjustment of /invite).
func InvitePath() DeliveryPath {
	return DeliveryPath{
		Name:    "invite",
		Needs:   Outside,
		Carries: Invitations,
		deliver: func(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
			body := append([]byte(`{"event":`), f.PDU...)
			body = append(append(body, `,"room_version":`...), strconv.Quote(r.version.ID)...)
			body = append(appendArray(append(body, `,"invite_room_state":`...), r.strippedState()), '}')
			response, err := r.server.Do(ctx, dest, http.MethodPut, path("v2", "invite", r.id, f.EventID), body)
			return Delivered{Response: response}, unsignableError(err)
		},
		refuses: requests(
			refusal{aboutOthers, "the endpoint takes invitations, and this is a forgery in another event"},
			refusal{aboutParticipation, "whom nobody has let in yet cannot know which servers participate in the room"},
			refusal{aboutSignatures, "nothing has signed the event yet: its state key is still to be replaced by the target's account key"},
			refusal{aboutContentOf("invite"), "that change is none to an invitation"},
		),
	}
}

// unsignableError marks the error of a request that cannot be signed because of what is in it.
func unsignableError(err error) error {
	if errors.Is(err, matrix.ErrNotCanonical) {
		return fmt.Errorf("%w: a request with it cannot be signed: %w", ErrImpossible, err)
	}
	return err
}

// handInRequest delivers the request of a server to participate: PUT send_participation with its event ID.
func handInRequest(ctx context.Context, r *Room, dest matrix.ServerName, f Forged) (Delivered, error) {
	p := Petition{server: r.server, Via: dest, RoomID: r.id}
	response, err := p.SubmitBy(ctx, f, Submissions()[0])
	return Delivered{Response: response}, unsignableError(err)
}
