// Package clientapi serves the client-server API.
//
// Clients know users by account name, rooms with account keys know them by key (MSC4243). Everything
// that passes between a client and a room goes through translate_out.go or translate_in.go, which are
// the only places that turn one into the other; no handler reads an event for a client or hands
// content to a room on its own.
package clientapi

import (
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/defect"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Options are what an API needs. All fields but RegistrationSharedSecret and AppServices are
// required.
type Options struct {
	ServerName matrix.ServerName
	// Users are the tables of this server's users.
	Users     *userdb.DB
	Engine    *room.Engine
	Directory *account.Directory
	// Peers asks other servers for profiles, aliases, devices and keys.
	Peers peer.Caller
	// Outbox sends typing notifications, receipts, to-device messages and device list updates.
	Outbox room.Outbox
	// RegistrationSharedSecret lets whoever knows it register users, administrators too; empty means
	// that nobody does.
	RegistrationSharedSecret string
	// AppServices are told of the events that concern them; see Run.
	AppServices []AppService
	// Outside reaches application services and push gateways.
	Outside *http.Client
	Logger  *slog.Logger
	// Clock tells the time.
	Clock func() time.Time
	// Defects are what the server does wrong on purpose.
	Defects defect.Set
}

// API is the client-server API of one homeserver. It is safe for concurrent use. It also answers
// other servers' questions about this server's users; see package fed.
type API struct {
	server    matrix.ServerName
	users     *userdb.DB
	engine    *room.Engine
	directory *account.Directory
	peers     peer.Caller
	outbox    room.Outbox
	secret    string
	services  []AppService
	outside   *http.Client
	logger    *slog.Logger
	now       func() time.Time
	defects   defect.Set

	hub       *hub
	relations *relationIndex
	fleeting  *fleetingClock
	typing    *typing
	presences *presences
	nonces    *nonces
	sliding   slidingConnections
	company   *companyRooms
	// transactions lets a repeated request wait for the first one instead of overtaking it.
	transactions singleflight.Group
}

// New makes the API and has the engine report changes to it. Nothing runs until its Handler is served.
func New(o Options) *API {
	a := &API{
		server: o.ServerName, users: o.Users, engine: o.Engine, directory: o.Directory, peers: o.Peers, outbox: o.Outbox,
		secret: o.RegistrationSharedSecret, services: o.AppServices, outside: o.Outside, logger: o.Logger, now: o.Clock, defects: o.Defects,
		hub: newHub(), fleeting: &fleetingClock{}, nonces: newNonces(o.Clock),
	}
	a.typing = newTyping(o.Clock, a.fleeting)
	a.presences = newPresences(a.fleeting)
	a.relations = newRelationIndex(o.Engine)
	a.company = newCompanyRooms()
	o.Engine.OnChange(func(roomID string, users []matrix.UserID) {
		a.company.note(roomID)
		topics := []string{roomID}
		for _, user := range users {
			topics = append(topics, string(user))
		}
		a.hub.wake(topics...)
	})
	return a
}

func (a *API) nowMillis() int64 { return a.now().UnixMilli() }

// routes are the endpoints, in the order of the specification's chapters.
func (a *API) routes() []route {
	var all []route
	for _, chapter := range [][]route{
		a.serverRoutes(), a.accountRoutes(), a.deviceRoutes(), a.profileRoutes(), a.dataRoutes(), a.pushRoutes(),
		a.keyRoutes(), a.creationRoutes(), a.membershipRoutes(), a.sendRoutes(), a.stateRoutes(), a.historyRoutes(),
		a.relationRoutes(), a.ephemeralRoutes(), a.presenceRoutes(), a.directoryRoutes(), a.hierarchyRoutes(), a.searchRoutes(), a.syncRoutes(),
		a.slidingSyncRoutes(),
	} {
		all = append(all, chapter...)
	}
	return all
}
