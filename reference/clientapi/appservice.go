package clientapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"countersign/matrix"
	"countersign/reference/room"
)

// AppService is an application service that is registered with this server (application service API,
// "Registration"). It is told of events; it does not act as users of this server.
type AppService struct {
	// ID names the application service.
	ID string
	// URL is where it is told of events.
	URL string
	// Token is hs_token, by which it knows this server.
	Token string
	// Users, Aliases and Rooms match what it is interested in: account name user IDs, also of users whom
	// a room knows by account key (CS-29), aliases, and room IDs.
	Users, Aliases, Rooms []*regexp.Regexp
}

// LoadAppServices reads the registrations in a folder, of which every file whose name ends in .yaml is
// one. A folder that does not exist has none.
func LoadAppServices(dir string) (services []AppService, err error) {
	if dir == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		service, err := ParseAppService(text)
		if err != nil {
			return nil, fmt.Errorf("the registration %s of an application service: %w", file, err)
		}
		services = append(services, service)
	}
	return services, nil
}

// ParseAppService reads a registration.
func ParseAppService(registration []byte) (AppService, error) {
	type namespace []struct {
		Regex string `yaml:"regex"`
	}
	var r struct {
		ID         string `yaml:"id"`
		URL        string `yaml:"url"`
		HSToken    string `yaml:"hs_token"`
		Namespaces struct {
			Users   namespace `yaml:"users"`
			Aliases namespace `yaml:"aliases"`
			Rooms   namespace `yaml:"rooms"`
		} `yaml:"namespaces"`
	}
	if err := yaml.Unmarshal(registration, &r); err != nil {
		return AppService{}, err
	}
	if r.ID == "" || r.HSToken == "" {
		return AppService{}, errors.New("id and hs_token are needed")
	}
	s := AppService{ID: r.ID, URL: strings.TrimRight(r.URL, "/"), Token: r.HSToken}
	for _, n := range []struct {
		from namespace
		to   *[]*regexp.Regexp
	}{{r.Namespaces.Users, &s.Users}, {r.Namespaces.Aliases, &s.Aliases}, {r.Namespaces.Rooms, &s.Rooms}} {
		for _, entry := range n.from {
			// The whole of an ID is matched, as other homeservers do.
			expression, err := regexp.Compile("^(?:" + entry.Regex + ")$")
			if err != nil {
				return AppService{}, err
			}
			*n.to = append(*n.to, expression)
		}
	}
	return s, nil
}

func matchesAny(expressions []*regexp.Regexp, text string) bool {
	for _, expression := range expressions {
		if expression.MatchString(text) {
			return true
		}
	}
	return false
}

// interested reports whether an event concerns the application service whoever has sent it: by the room's
// ID, an alias of the room, or who was a member of it at the event.
func (a *API) interested(s AppService, r *reader, e room.Stored) (bool, error) {
	if matchesAny(s.Rooms, r.roomID) {
		return true, nil
	}
	if len(s.Aliases) > 0 {
		aliases, err := a.users.Aliases(r.roomID)
		if err != nil {
			return false, err
		}
		for _, alias := range aliases {
			if matchesAny(s.Aliases, alias) {
				return true, nil
			}
		}
	}
	if len(s.Users) == 0 {
		return false, nil
	}
	state, err := a.engine.StateAfter(r.roomID, e.ID())
	if err != nil {
		return false, err
	}
	for user := range r.joinedUsers(state) {
		if s.owns(r, user) {
			return true, nil
		}
	}
	return false, nil
}

// concerns reports whether an event itself concerns the application service: by its sender, or by whose
// membership it is.
func (s AppService) concerns(r *reader, e *clientEvent) bool {
	return s.owns(r, e.Sender) || e.Type == "m.room.member" && e.StateKey != nil && s.owns(r, matrix.UserID(*e.StateKey))
}

// owns reports whether a user, as clients see the user in a room, is among the application service's, by
// that ID or by account name.
func (s AppService) owns(r *reader, user matrix.UserID) bool {
	name, _ := r.knownAs(user)
	if inRoom, ok := r.find(name); ok && inRoom != name && r.defects.Has("MatchNamespacesWithKeys") {
		return matchesAny(s.Users, string(inRoom))
	}
	return matchesAny(s.Users, string(user)) || name != user && matchesAny(s.Users, string(name))
}

// serveAppService tells an application service of new events until ctx ends. After a restart it goes on
// where it was; an application service may then be told twice of what it was told last.
func (a *API) serveAppService(ctx context.Context, s AppService) {
	position, err := a.users.AppServicePosition(s.ID)
	if err == nil && position == 0 {
		position = uint64(a.engine.Now())
	}
	rooms, roomsErr := a.localRooms()
	if err = errors.Join(err, roomsErr); err != nil {
		a.logger.Error("an application service is not told of events", "id", s.ID, "error", err)
		return
	}
	f := newFollower(a.engine, room.Position(position), rooms...)
	for {
		events, err := f.next(ctx)
		if err == nil {
			err = a.tellAppService(ctx, s, events)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.logger.Error("an application service misses events", "id", s.ID, "error", err)
		}
	}
}

// tellAppService tells an application service of those among new events that concern it. It tries until
// the application service has accepted them, or ctx ends.
func (a *API) tellAppService(ctx context.Context, s AppService, events []room.Stored) error {
	last := events[len(events)-1].Place.Major
	shown, err := a.shownTo(s, events)
	if err != nil {
		return err
	}
	if len(shown) > 0 && s.URL != "" {
		body := mustJSON(map[string]any{"events": shown})
		path := fmt.Sprintf("%s/_matrix/app/v1/transactions/%s", s.URL, url.PathEscape(fmt.Sprintf("%d-%d", events[0].Place.Major, last)))
		for failures := 0; ; failures++ {
			_, err := a.tell(ctx, http.MethodPut, path, s.Token, body)
			if err == nil {
				break
			}
			a.logger.Info("an application service does not answer", "id", s.ID, "error", err)
			if !pause(ctx, failures) {
				return ctx.Err()
			}
		}
	}
	return a.users.SetAppServicePosition(s.ID, uint64(last))
}

// shownTo are the events that concern an application service, as clients see them. Those that are
// hidden from clients are hidden from application services (VIS-18).
func (a *API) shownTo(s AppService, events []room.Stored) (shown []*clientEvent, err error) {
	readers := map[string]*reader{}
	for _, e := range events {
		r := readers[e.RoomID()]
		if r == nil {
			if r, err = a.onlooker(e.RoomID()); err != nil {
				return nil, err
			}
			readers[r.roomID] = r
		}
		c := r.event(e.Event, surroundings{nowMillis: a.nowMillis(), redaction: r.redactionOf(e)})
		if c == nil {
			continue
		}
		concerned := s.concerns(r, c)
		if !concerned {
			if concerned, err = a.interested(s, r, e); err != nil {
				return nil, err
			}
		}
		if concerned {
			shown = append(shown, c)
		}
	}
	return shown, nil
}
