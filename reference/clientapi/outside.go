package clientapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
)

// Bounds of telling others of events.
const (
	outsideTimeout = 10 * time.Second
	maxOutside     = 64 << 10 // of an answer
	firstPause     = 500 * time.Millisecond
	lastPause      = time.Minute
)

// Run tells application services and push gateways of new events until ctx ends.
func (a *API) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { a.push(ctx) })
	for _, service := range a.services {
		group.Go(func() { a.serveAppService(ctx, service) })
	}
	group.Wait()
}

// tell sends a request to an application service or a push gateway and returns the answer, which must
// have the status 200.
func (a *API) tell(ctx context.Context, method, url, token string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, outsideTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := a.outside.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxOutside))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s is answered with status %d", method, url, response.StatusCode)
	}
	return answer, err
}

// pause waits before another attempt, the longer the more have failed. It returns false when ctx ends
// first.
func pause(ctx context.Context, failures int) bool {
	timer := time.NewTimer(min(firstPause<<min(failures, 20), lastPause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// onlooker is a reader of a room that is nobody's: it shows events as all clients see them.
func (a *API) onlooker(roomID string) (*reader, error) {
	info, ok := a.engine.Room(roomID)
	if !ok {
		return nil, notInRoom(roomID)
	}
	return &reader{translator: a.translator(info.ID, info.Version), api: a, roomID: info.ID, visibilities: map[string]string{}}, nil
}

// localRooms are the rooms that users of this server are in.
func (a *API) localRooms() (rooms []string, err error) {
	seen := map[string]bool{}
	for _, user := range a.localUsers() {
		memberships, err := a.engine.Memberships(user)
		if err != nil {
			return nil, err
		}
		for _, m := range memberships {
			if m.Membership == "join" && !seen[m.RoomID] {
				seen[m.RoomID] = true
				rooms = append(rooms, m.RoomID)
			}
		}
	}
	return rooms, nil
}

func (a *API) localUsers() (users []matrix.UserID) {
	err := a.users.Users(func(u userdb.User) bool {
		users = append(users, u.ID)
		return true
	})
	if err != nil {
		a.logger.Warn("the users of this server cannot be listed", "error", err)
	}
	return users
}
