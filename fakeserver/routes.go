package fakeserver

import (
	"net/url"
	"strings"
)

// Operation is what a server can be asked for over federation, across versions and methods of its
// endpoint.
type Operation string

// The operations that a fake server answers.
const (
	OpServerKeys    Operation = "server_keys"    // GET /_matrix/key/v2/server
	OpNotary        Operation = "notary"         // GET, POST /_matrix/key/v2/query
	OpVersion       Operation = "version"        // GET v1/version
	OpSend          Operation = "send"           // PUT v1/send
	OpMakeJoin      Operation = "make_join"      // GET v1/make_join
	OpSendJoin      Operation = "send_join"      // PUT v1, v2/send_join
	OpMakeLeave     Operation = "make_leave"     // GET v1/make_leave
	OpSendLeave     Operation = "send_leave"     // PUT v1, v2/send_leave
	OpMakeKnock     Operation = "make_knock"     // GET v1/make_knock
	OpSendKnock     Operation = "send_knock"     // PUT v1/send_knock
	OpInvite        Operation = "invite"         // PUT v1, v2/invite
	OpBan           Operation = "ban"            // PUT, POST v1, v2, unstable ban (MSC4243)
	OpEvent         Operation = "event"          // GET v1/event
	OpState         Operation = "state"          // GET v1/state
	OpStateIDs      Operation = "state_ids"      // GET v1/state_ids
	OpEventAuth     Operation = "event_auth"     // GET v1/event_auth
	OpBackfill      Operation = "backfill"       // GET v1/backfill
	OpMissingEvents Operation = "missing_events" // POST v1/get_missing_events
	OpQueryAccounts Operation = "query_accounts" // GET, POST v1, unstable query/accounts (MSC4243, MSC4348)

	OpMakeParticipation Operation = "make_participation" // GET v1, v2, unstable make_participation (MSC4345)
	OpSendParticipation Operation = "send_participation" // PUT, GET v1, v2, unstable send_participation (MSC4345)
	OpServerKeyQuery    Operation = "server_key_query"   // POST, GET /_matrix/key/v3/query (MSC4345)

	OpProfile     Operation = "profile"      // GET v1/query/profile
	OpDirectory   Operation = "directory"    // GET v1/query/directory
	OpUserDevices Operation = "user_devices" // GET v1/user/devices
	OpKeysQuery   Operation = "keys_query"   // POST v1/user/keys/query
	OpKeysClaim   Operation = "keys_claim"   // POST v1/user/keys/claim
	OpPublicRooms Operation = "public_rooms" // GET, POST v1/publicRooms
	OpPolicySign  Operation = "policy_sign"  // POST /_matrix/policy/v1/sign
	OpPush        Operation = "push"         // POST /_matrix/push/v1/notify, as a push gateway
)

// unstableMSC4243 is the prefix of MSC4243's endpoints before it is accepted ("Unstable prefix").
const unstableMSC4243 = "org.matrix.msc4243"

// unstableMSC4345 is the prefix of MSC4345's endpoints before it is accepted ("Unstable prefix").
const unstableMSC4345 = "org.matrix.msc4345"

// route is one way of asking for an operation.
type route struct {
	op       Operation
	method   string
	version  string
	segments []string // of the escaped path; "{name}" stands for one of any value
	open     bool     // needs no signature
	serve    Handler
}

// table lists every route. It is matched by hand and not by http.ServeMux, which redirects paths
// that it finds unclean and answers methods that it does not know: here every request is answered by
// a handler and recorded, as it was sent.
func (s *Server) table() []route {
	var routes []route
	add := func(op Operation, methods, version, path string, serve Handler) {
		for method := range strings.FieldsSeq(methods) {
			routes = append(routes, route{
				op: op, method: method, version: strings.TrimPrefix(version, "unstable/"),
				segments: strings.Split("_matrix/federation/"+version+"/"+path, "/"), serve: serve,
			})
		}
	}
	open := func(op Operation, method, path string, serve Handler) {
		routes = append(routes, route{op: op, method: method, segments: strings.Split(path, "/"), open: true, serve: serve})
	}
	open(OpServerKeys, "GET", "_matrix/key/v2/server", s.serveKeys)
	open(OpServerKeys, "GET", "_matrix/key/v2/server/{keyID}", s.serveKeys)
	open(OpNotary, "GET", "_matrix/key/v2/query/{serverName}", s.serveNotary)
	open(OpNotary, "GET", "_matrix/key/v2/query/{serverName}/{keyID}", s.serveNotary)
	open(OpNotary, "POST", "_matrix/key/v2/query", s.serveNotary)
	for _, prefix := range []string{"_matrix/key/v3", "_matrix/key/v3/" + unstableMSC4345, "_matrix/key/unstable/" + unstableMSC4345} {
		routes = append(routes, route{op: OpServerKeyQuery, method: "POST", segments: strings.Split(prefix+"/query", "/"), serve: s.serveServerKeys})
		open(OpServerKeyQuery, "GET", prefix+"/query", s.serveServerKeys)
		open(OpServerKeyQuery, "GET", prefix+"/query/{serverName}", s.serveServerKeys)
	}
	open(OpPush, "POST", "_matrix/push/v1/notify", s.servePush)
	open(OpVersion, "GET", "_matrix/federation/v1/version", s.serveVersion)

	add(OpSend, "PUT", "v1", "send/{txnID}", s.serveSend)
	add(OpMakeJoin, "GET", "v1", "make_join/{roomID}/{userID}", s.serveTemplate("join"))
	add(OpSendJoin, "PUT", "v1", "send_join/{roomID}/{eventID}", s.serveSendJoin)
	add(OpSendJoin, "PUT", "v2", "send_join/{roomID}/{eventID}", s.serveSendJoin)
	add(OpMakeLeave, "GET", "v1", "make_leave/{roomID}/{userID}", s.serveTemplate("leave"))
	add(OpSendLeave, "PUT", "v1", "send_leave/{roomID}/{eventID}", s.serveSendLeave)
	add(OpSendLeave, "PUT", "v2", "send_leave/{roomID}/{eventID}", s.serveSendLeave)
	add(OpMakeKnock, "GET", "v1", "make_knock/{roomID}/{userID}", s.serveTemplate("knock"))
	add(OpSendKnock, "PUT", "v1", "send_knock/{roomID}/{eventID}", s.serveSendKnock)
	add(OpInvite, "PUT", "v1", "invite/{roomID}/{eventID}", s.serveInvite)
	add(OpInvite, "PUT", "v2", "invite/{roomID}/{eventID}", s.serveInvite)
	// The proposal names v1, v2 and an unstable path, and says that the endpoint is like /invite
	// without saying how like; all of them are served, and the transcript shows which was used.
	for _, version := range []string{"v1", "v2", "unstable/" + unstableMSC4243} {
		add(OpBan, "PUT POST", version, "ban/{roomID}/{eventID}", s.serveInvite)
		add(OpBan, "PUT POST", version, "ban", s.serveInvite)
	}
	add(OpEvent, "GET", "v1", "event/{eventID}", s.serveEvent)
	add(OpState, "GET", "v1", "state/{roomID}", s.serveState)
	add(OpStateIDs, "GET", "v1", "state_ids/{roomID}", s.serveStateIDs)
	add(OpEventAuth, "GET", "v1", "event_auth/{roomID}/{eventID}", s.serveEventAuth)
	add(OpBackfill, "GET", "v1", "backfill/{roomID}", s.serveBackfill)
	add(OpMissingEvents, "POST", "v1", "get_missing_events/{roomID}", s.serveMissingEvents)
	for _, version := range []string{"v1", "unstable/" + unstableMSC4243} {
		add(OpQueryAccounts, "GET POST", version, "query/accounts", s.serveAccounts)
	}
	add(OpQueryAccounts, "GET POST", "v1", "query/"+unstableAccountsMSC4348, s.serveAccounts)
	// The proposal has the handshake under v1 and hands the request in by GET, at a path with a user ID;
	// elsewhere it says that it is like send_join, which is a PUT with an event ID (D-33). All of them are
	// served, under every version, and Submission says which was used.
	for _, version := range []string{"v1", "v2", "unstable/" + unstableMSC4345} {
		add(OpMakeParticipation, "GET", version, "make_participation/{roomID}/{userID}", s.serveMakeParticipation)
		add(OpSendParticipation, "PUT GET", version, "send_participation/{roomID}/{last}", s.serveSendParticipation)
	}
	add(OpProfile, "GET", "v1", "query/profile", s.serveProfile)
	add(OpDirectory, "GET", "v1", "query/directory", s.serveDirectory)
	add(OpUserDevices, "GET", "v1", "user/devices/{userID}", s.serveDevices)
	add(OpKeysQuery, "POST", "v1", "user/keys/query", s.serveKeysQuery)
	add(OpKeysClaim, "POST", "v1", "user/keys/claim", s.serveKeysClaim)
	add(OpPublicRooms, "GET POST", "v1", "publicRooms", s.servePublicRooms)
	routes = append(routes, route{
		op: OpPolicySign, method: "POST", version: "v1", segments: strings.Split("_matrix/policy/v1/sign", "/"), serve: s.servePolicySign,
	})
	return routes
}

// match finds the route of a request and the values of its variables.
func (s *Server) match(method, escapedPath string) (*route, map[string]string) {
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	for i := range s.routes {
		r := &s.routes[i]
		if r.method == method && len(r.segments) == len(segments) {
			if vars, ok := r.bind(segments); ok {
				return r, vars
			}
		}
	}
	return nil, nil
}

func (r *route) bind(segments []string) (map[string]string, bool) {
	vars := map[string]string{}
	for i, want := range r.segments {
		if !strings.HasPrefix(want, "{") {
			if segments[i] != want {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, false
		}
		vars[strings.Trim(want, "{}")] = value
	}
	return vars, true
}
