package fakeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// NewEDU is an ephemeral message as it is in a transaction.
func NewEDU(eduType string, content any) (json.RawMessage, error) {
	raw, err := json.Marshal(map[string]any{"edu_type": eduType, "content": content})
	if err != nil {
		return nil, fmt.Errorf("content of %s: %w", eduType, err)
	}
	return raw, nil
}

// TransactionResult is the answer to a transaction.
type TransactionResult struct {
	// Response is the answer itself.
	Response *Response
	// Errors are the per-event errors by event ID; an event that was processed without one is
	// mapped to the empty string. A server need not say why it drops an event, nor that it does.
	Errors map[string]string
}

// SendTransaction sends events and ephemeral messages as they are, and returns the answer whatever
// its status; the error says why there was none. The bytes of the events reach the other server
// unchanged, so they need not be canonical; they must be JSON to be part of a transaction that can be
// signed.
func (s *Server) SendTransaction(ctx context.Context, dest matrix.ServerName, pdus, edus []json.RawMessage) (*TransactionResult, error) {
	uri := path("v1", "send", strconv.FormatInt(time.Now().UnixMilli(), 36)+"-"+strconv.Itoa(s.txnCount.next()))
	body := fmt.Appendf(nil, `{"origin":%q,"origin_server_ts":%d,"pdus":`, s.name, time.Now().UnixMilli())
	body = appendArray(body, pdus)
	if len(edus) > 0 {
		body = append(body, `,"edus":`...)
		body = appendArray(body, edus)
	}
	body = append(body, '}')
	r, err := s.DoRequest(ctx, Request{Destination: dest, Method: http.MethodPut, URI: uri, Body: body})
	if err != nil {
		return nil, err
	}
	result := &TransactionResult{Response: r, Errors: map[string]string{}}
	r.Get("pdus").ForEach(func(id, entry gjson.Result) bool {
		result.Errors[id.String()] = entry.Get("error").String()
		return true
	})
	return result, nil
}

// appendArray writes raw values as an array, byte for byte: encoding/json would compact them.
func appendArray(dst []byte, list []json.RawMessage) []byte {
	dst = append(dst, '[')
	for i, raw := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, raw...)
	}
	return append(dst, ']')
}

// sendAll sends a transaction to several servers at once and joins their errors.
func (s *Server) sendAll(ctx context.Context, dests []matrix.ServerName, pdus, edus []json.RawMessage) error {
	errs := make(chan error, len(dests))
	for _, dest := range dests {
		go func() {
			result, err := s.SendTransaction(ctx, dest, pdus, edus)
			if err == nil && result.Response.Status != http.StatusOK {
				err = &StatusError{Server: dest, Request: "PUT /send", Response: result.Response}
			}
			errs <- err
		}()
	}
	var all []error
	for range dests {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// serveSend takes a transaction: events become part of the room that they name.
func (s *Server) serveSend(q *Inquiry) Answer {
	if !gjson.ValidBytes(q.Body) {
		return Errorf(http.StatusBadRequest, "M_NOT_JSON", "the transaction is not JSON")
	}
	results := map[string]map[string]string{}
	for _, pdu := range gjson.GetBytes(q.Body, "pdus").Array() {
		p := s.readPDU(matrix.RoomVersion{}, []byte(pdu.Raw), q.Origin, OpSend)
		id, result := "", map[string]string{}
		switch {
		case p.Event != nil:
			if room := s.Room(p.Event.RoomID()); room != nil { // it may have asked to be in it, and no more
				room.Add(p.Event)
				if err := room.acceptAtOnce(p.Event); err != nil {
					s.record.note("%v", err)
				}
			}
			id = p.Event.ID()
		default:
			result["error"] = p.Err.Error()
			if hash, err := p.Version.ReferenceHash(p.Raw); err == nil {
				id = "$" + matrix.EncodeURLBase64(hash[:])
			}
		}
		if id != "" {
			results[id] = result
		}
		s.inbox.addPDU(p)
	}
	for _, edu := range gjson.GetBytes(q.Body, "edus").Array() {
		s.inbox.addEDU(EDU{
			Type: edu.Get("edu_type").String(), Content: slices.Clone(json.RawMessage(edu.Get("content").Raw)),
			From: q.Origin, Time: time.Now(),
		})
	}
	return JSON(http.StatusOK, map[string]any{"pdus": results})
}
