package clientapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"countersign/matrix"
)

// properties are names that some endpoint reads, so that odd values get somewhere.
func properties() []string {
	return []string{
		"user_id", "room_id", "device_keys", "one_time_keys", "fallback_keys", "messages", "auth", "identifier", "type", "user",
		"username", "password", "initial_state", "invite", "preset", "creation_content", "power_level_content_override", "users",
		"additional_creators", "membership", "search_categories", "room_events", "search_term", "filter", "rooms", "limit",
		"m.fully_read", "typing", "timeout", "visibility", "conditions", "actions", "pattern", "master_key", "keys", "signatures",
		"unsigned", "device_id", "ignored_users", "tags", "new_version", "reason", "via", "alias", "alt_aliases", "displayname",
		"event_context", "groupings", "group_by", "content", "state_key", "join_authorised_via_users_server", "third_party_invite",
		"m.relates_to", "rel_type", "event_id", "events", "m.mentions", "history_visibility", "body", "enabled", "devices",
	}
}

// oddValue is any JSON value, more likely one that means something.
func oddValue(words []string) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.SampledFrom(words).AsAny(), rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(),
		rapid.Just[any](nil), rapid.Float64Range(-1e3, 1e3).AsAny(),
	)
	value := leaf
	for range 3 {
		inner := value
		value = rapid.OneOf(
			leaf, rapid.SliceOfN(inner, 0, 3).AsAny(),
			rapid.MapOfN(rapid.OneOf(rapid.SampledFrom(properties()), rapid.SampledFrom(words)), inner, 0, 6).AsAny(),
		)
	}
	return value
}

// Whatever a client sends, no endpoint fails on its side, and every answer is JSON.
func TestNoRequestBreaksTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "preset": "public_chat", "invite": []string{bob.id}})
	old := alice.createRoom(map[string]any{"preset": "public_chat"})
	event := alice.say(room, "hello")
	words := []string{
		alice.id, bob.id, "@ghost:hs1.test", "@far:fs.test", room, old, "!unknown", event, "$unknown", "#alias:hs1.test", "m.room.member",
		"m.room.power_levels", "m.room.create", "m.room.message", "m.room.canonical_alias", "join", "invite", "ban", "knock", "leave", "m.read",
		"m.login.password", "m.login.dummy", "public", "private", "trusted_private_chat", "b", "f", "", "..", "a/b", "\x00", "é", "override", "content", "enabled",
		matrix.Version12, matrix.VersionMSC4243, "m.ignored_user_list", "m.tag", "fs.test", "*", "ed25519:A", "true", "0", "t1_0", "s1_1_1_1",
	}
	var routes []route
	for _, r := range w.api.routes() {
		// These end the session that the test needs.
		if !strings.Contains(r.path, "logout") && !strings.Contains(r.path, "deactivate") {
			routes = append(routes, r)
		}
	}
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	odd := oddValue(words)
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(routes).Draw(t, "route")
		target := r.path
		if !strings.HasPrefix(target, "/_") {
			target = "/_matrix/client" + target
		}
		target = strings.ReplaceAll(target, "{$}", "")
		target = strings.ReplaceAll(target, "{roomID}", rapid.SampledFrom([]string{room, old, "!unknown"}).Draw(t, "room"))
		target = strings.ReplaceAll(target, "{userID}", url.PathEscape(rapid.SampledFrom([]string{alice.id, bob.id, "odd"}).Draw(t, "user")))
		target = parameter.ReplaceAllStringFunc(target, func(string) string {
			return url.PathEscape(rapid.SampledFrom(words).Draw(t, "segment"))
		})
		query := url.Values{}
		for _, name := range []string{"dir", "from", "to", "limit", "since", "filter", "ts", "at", "membership", "server", "via", "username", "timestamp"} {
			if rapid.IntRange(0, 3).Draw(t, "has") == 0 {
				query.Set(name, rapid.SampledFrom(words).Draw(t, name))
			}
		}
		body, err := json.Marshal(odd.Draw(t, "body"))
		require.NoError(t, err)
		req := httptest.NewRequest(r.method, target+"?"+query.Encode(), strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer "+alice.token)
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, req)
		require.True(t, json.Valid(recorder.Body.Bytes()), "%s %s: %s", r.method, target, recorder.Body)
		if recorder.Code >= http.StatusInternalServerError && recorder.Code != http.StatusBadGateway {
			t.Fatalf("%s %s?%s %s: %d %s", r.method, target, query.Encode(), body, recorder.Code, recorder.Body)
		}
		// The rooms can still be read.
		require.Equal(t, http.StatusOK, alice.do(http.MethodGet, path("sync"), nil).status)
	})
}
