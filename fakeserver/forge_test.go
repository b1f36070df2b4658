package fakeserver_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// stage is a room of hs's alice in which forgeries are made by fs's bob.
type stage struct {
	*pair
	eve *fakeserver.User // who co-signs
	zoe *fakeserver.User // the other of the cast
}

func newStage(t *testing.T, v matrix.RoomVersion) *stage {
	p := newPair(t, v, fakeserver.RoomOptions{})
	s := &stage{pair: p, eve: user(t, p.fs, "eve"), zoe: user(t, p.fs, "zoe")}
	for _, u := range []*fakeserver.User{s.eve, s.zoe} {
		_, err := p.fs.JoinRoom(ctx(t), p.hs.Name(), p.at.ID(), u)
		require.NoError(t, err)
	}
	other, err := p.fs.CreateRoom(p.bob, fakeserver.RoomOptions{Version: v})
	require.NoError(t, err)
	p.of.SetCast(fakeserver.Cast{OtherRoom: other, VictimName: "alice", Elsewhere: string(p.hs.Name())})
	return s
}

// draft is an event of a kind.
func (s *stage) draft(v matrix.RoomVersion, on fakeserver.Kind) fakeserver.Draft {
	switch on {
	case fakeserver.LeaveEvent:
		return fakeserver.Membership(s.bob.ID(v), "leave")
	case fakeserver.JoinEvent:
		return fakeserver.Membership(s.bob.ID(v), "join")
	case fakeserver.RestrictedJoinEvent:
		d := fakeserver.Membership(s.bob.ID(v), "join").With("join_authorised_via_users_server", s.eve.ID(v))
		d.CoSigners = []*fakeserver.User{s.eve}
		return d
	case fakeserver.InviteEvent:
		d := fakeserver.Membership(s.eve.ID(v), "invite")
		d.CoSigners = []*fakeserver.User{s.eve}
		return d
	case fakeserver.PowerLevelsEvent:
		return fakeserver.State("m.room.power_levels", "", map[string]any{"users": map[string]int{}})
	case fakeserver.JoinRulesEvent:
		return fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "public"})
	case fakeserver.StateEvent:
		return fakeserver.State("m.room.topic", "", map[string]any{"topic": "x"})
	}
	return fakeserver.Message("hello")
}

func TestForgeHonest(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		s := newStage(t, v)
		d := s.draft(v, fakeserver.RestrictedJoinEvent)
		d.Unsigned = json.RawMessage(`{"b":1,"a":"é<"}`)
		forged, err := s.of.Forge(s.bob, d, fakeserver.Forgery{})
		require.NoError(t, err)
		e, err := forged.Event()
		require.NoError(t, err)
		require.Equal(t, e.ID(), forged.EventID)
		verify(t, s.pair, e)

		// The builder of the wire package builds the same bytes.
		want, err := matrix.ProtoEvent{
			Type: e.Type(), StateKey: d.StateKey, Sender: e.Sender(), RoomID: e.RoomID(), Content: e.Content(),
			PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Depth: e.Depth(), OriginServerTS: e.OriginServerTS(),
			Unsigned: e.Unsigned(),
		}.Build(v, s.bob.Signer(v), s.eve.Signer(v))
		require.NoError(t, err)
		require.Equal(t, string(want.JSON()), string(forged.PDU))
	})
}

// outcome is what a strict reader makes of an event.
type outcome string

const (
	good       outcome = "good"
	unreadable outcome = "unreadable"
	badSender  outcome = "sender signature bad"
	badHash    outcome = "hash bad"
)

func judge(f fakeserver.Forged) outcome {
	e, err := f.Event()
	switch {
	case err != nil:
		return unreadable
	case e.VerifyAccountKey(e.Sender()) != nil:
		return badSender
	case !e.HashOK():
		return badHash
	}
	if _, err := e.Sender().AccountKey(); err != nil {
		return badSender
	}
	return good
}

// exceptions are the outcomes of the rows that differ from the rest of their requirement.
var exceptions = map[string]outcome{
	"localpart-of-a-user-id-without-domain":       unreadable,
	"localpart-of-a-user-id-with-empty-domain":    unreadable,
	"localpart-of-a-user-id-with-a-bad-port":      unreadable,
	"localpart-followed-by-nul":                   unreadable,
	"localpart-of-200-bytes":                      unreadable,
	"localpart-at-a-domain-of-211-bytes":          unreadable,
	"localpart-at-a-domain-of-210-bytes":          good,
	"duplicate-content-key":                       unreadable,
	"two-signatures-bad-second":                   unreadable,
	"two-signatures-bad-first":                    unreadable,
	"far-past":                                    good,
	"far-future":                                  good,
	"altered-body":                                badHash,
	"signature-is-padded":                         good,
	"third-party-invite-without-signature":        badSender,
	"extra-signature-by-another-key-id":           good,
	"extra-signature-by-the-server":               good,
	"extra-signature-by-a-stranger":               good,
	"extra-signature-not-base64":                  good,
	"extra-signature-a-number":                    good,
	"extra-signature-an-array":                    good,
	"redacted-copy":                               badHash,
	"ed25519-key-mixed-fit":                       good,
	"ed25519-key-and-r-mixed-cancelling":          good,
	"ed25519-key-mixed-only-reduced-hash-fits":    good,
	"stolen-key-at-another-domain":                good,
	"delivered-by-another-server":                 good,
	"cites-events-of-another-room":                good,
	"join-submitted-for-another-domain":           good,
	"create-by-another-user":                      good,
	"state-key-is-own-account-name":               good,
	"state-key-is-the-victim":                     good,
	"state-key-is-own-key-at-another-domain":      good,
	"state-key-is-an-alias-of-the-own-key":        good,
	"spoofed-sender-account":                      good,
	"raises-own-power":                            good,
	"join-names-an-authoriser-who-has-not-signed": good,
	"invite-without-co-signature":                 good,
	"invite-with-bad-co-signature":                good,
}

func expected(row fakeserver.NamedForgery) outcome {
	if o, ok := exceptions[row.Name]; ok {
		return o
	}
	switch {
	case row.On == fakeserver.RestrictedJoinEvent:
		return good // as far as the sender is concerned
	case row.Requirement == "MSC4243-SIG-13":
		return unreadable
	}
	return badSender
}

// changes names the properties in which two events differ.
func changes(a, b []byte) []string {
	var names []string
	read := func(doc []byte) map[string]string {
		m := map[string]string{}
		gjson.ParseBytes(doc).ForEach(func(key, value gjson.Result) bool {
			m[key.String()] = value.Raw
			return true
		})
		return m
	}
	x, y := read(a), read(b)
	for name := range x {
		if x[name] != y[name] {
			names = append(names, name)
		}
	}
	for name := range y {
		if _, ok := x[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// allowed is the properties that a forgery may change. What the author changes, the hash and the
// signatures follow; what is changed on the way, nothing follows.
func allowed(f fakeserver.Forgery) []string {
	authored := []string{"hashes", "signatures", "auth_events"}
	names := []string{}
	switch {
	case f.Edge.KeyBytes != "" || f.Edge.KeyTorsion != 0 || f.Sender != "":
		names = append(authored, "sender", "state_key")
	case f.StateKey != "":
		names = append(authored, "state_key")
	case f.Authoriser != "":
		names = append(authored, "content")
	}
	for _, e := range f.Edits {
		names = append(append(names, authored...), strings.Split(e.Path, ".")[0])
	}
	for _, e := range f.LateEdits {
		names = append(names, strings.Split(e.Path, ".")[0])
		if f.Rehash {
			names = append(names, "hashes")
		}
	}
	switch {
	case f.Redacted:
		names = append(names, "content")
	case f.Unsigned != "":
		names = append(names, "unsigned")
	case f.SignOver == fakeserver.WithUnsigned:
		names = append(names, "unsigned", "signatures")
	case len(f.LateEdits) == 0:
		names = append(names, "signatures")
	}
	return names
}

func TestForgeriesDeviateAsStated(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	for _, row := range fakeserver.Forgeries() {
		if row.On == fakeserver.TemplateEvent || row.Name == "account-key-in-place-of-the-server-key" {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			d := s.draft(v, row.On)
			if row.On == fakeserver.CreateEvent {
				d = fakeserver.State("m.room.create", "", map[string]any{"room_version": v.ID})
			}
			d.Time = time.UnixMilli(1700000000000)
			forged, err := s.of.Forge(s.bob, d, row.Forgery)
			require.NoError(t, err)
			require.Equal(t, expected(row), judge(forged), "%s", forged.PDU)

			if row.Forgery.SignatureEncoding == fakeserver.URLSafeBase64 || row.Forgery.Edge.RZero {
				d.Time = time.UnixMilli(gjson.GetBytes(forged.PDU, "origin_server_ts").Int()) // it may have been built later
			}
			honest, err := s.of.Forge(s.bob, d, fakeserver.Forgery{})
			require.NoError(t, err)
			if row.Forgery.RawEdit != nil || row.Forgery.Courier {
				return
			}
			require.NotEqual(t, string(honest.PDU), string(forged.PDU))
			for _, name := range changes(honest.PDU, forged.PDU) {
				require.Contains(t, allowed(row.Forgery), name)
			}
			require.NotContains(t, string(forged.PDU), "countersign placeholder")
		})
	}
}

func TestForgeOddValuesAreSignedAsWritten(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	forge := func(f fakeserver.Forgery) fakeserver.Forged {
		forged, err := s.of.Forge(s.bob, fakeserver.State("m.room.power_levels", "", map[string]any{}), f)
		require.NoError(t, err)
		return forged
	}
	odd := forge(fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.users_default", JSON: "1E1"}}})
	require.Contains(t, string(odd.PDU), `"users_default":1E1`)
	_, err := odd.Event()
	require.ErrorIs(t, err, matrix.ErrNotCanonical)

	// A reader that takes the number for what it is worth finds nothing else wrong with an event whose
	// author wrote it so: the same event with the plain number has another hash.
	sane := bytes.Replace(odd.PDU, []byte("1E1"), []byte("10"), 1)
	e, err := matrix.ParseEvent(v, sane)
	require.NoError(t, err)
	require.False(t, e.HashOK())
	require.Error(t, e.VerifyAccountKey(e.Sender()))

	message := forge(fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.users_default", JSON: "10"}}})
	e, err = message.Event()
	require.NoError(t, err)
	verify(t, s.pair, e)
}

func TestForgeCoSignatures(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	check := func(f fakeserver.Forgery) (*matrix.Event, error) {
		forged, err := s.of.Forge(s.bob, s.draft(v, fakeserver.RestrictedJoinEvent), f)
		require.NoError(t, err)
		e, err := forged.Event()
		require.NoError(t, err)
		return e, e.VerifyAccountKey(matrix.UserID(e.Get("join_authorised_via_users_server").String()))
	}
	_, err := check(fakeserver.Forgery{})
	require.NoError(t, err)
	for _, row := range fakeserver.Forgeries() {
		if row.On != fakeserver.RestrictedJoinEvent {
			continue
		}
		e, err := check(row.Forgery)
		if strings.Contains(row.Name, "authorised-by-a-stranger") || strings.Contains(row.Name, "at-another-domain") {
			require.NoError(t, err, row.Name) // the signature is good; it is the authoriser who is not
			continue
		}
		require.Error(t, err, "%s: %s", row.Name, e.JSON())
	}
}

func TestForgeVersion12(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersion12()
	s := newStage(t, v)
	key := s.fs.Signer()
	for name, f := range map[string]fakeserver.Forgery{
		"account key":        {SignWith: fakeserver.AccountKey},
		"unknown key":        {SignWith: fakeserver.StrangerKey},
		"entity":             {SignatureEntity: "{victim-domain}"},
		"key ID":             {SignatureKeyID: "ed25519:unpublished"},
		"flipped bit":        {FlipSignatureBits: []int{300}},
		"small-order R":      {Edge: fakeserver.Edge{RZero: true}},
		"nothing":            {OmitSignatures: true},
		"protected property": {LateEdits: []fakeserver.Edit{{Path: "depth", JSON: "1"}}},
	} {
		forged, err := s.of.Forge(s.bob, fakeserver.Message("hello"), f)
		require.NoError(t, err, name)
		e, err := forged.Event()
		require.NoError(t, err, name)
		require.Error(t, e.VerifySignature(key.Entity, key.KeyID, key.Key.Public().(ed25519.PublicKey)), name)
	}
	for name, f := range map[string]fakeserver.Forgery{
		"server key only": {SignWithServerKeyOnly: true},
		"server key":      {SignWith: fakeserver.ServerKey},
		"key of an edge":  {Edge: fakeserver.SmallOrderKeys()[0].Edge},
	} {
		_, err := s.of.Forge(s.bob, fakeserver.Message("hello"), f)
		require.Error(t, err, name)
	}
	_, err := s.of.Forge(s.bob, fakeserver.Message("hello"), fakeserver.Forgery{SignatureEntity: "{nobody}"})
	require.ErrorContains(t, err, "{nobody}")
	_, err = s.of.Forge(s.bob, fakeserver.Message("hello"), fakeserver.Forgery{OmitCoSignature: true})
	require.ErrorContains(t, err, "nobody co-signs")
}

// Every field is a sentence, and every field is used.
func TestForgeryTable(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "forgery.go", nil, parser.ParseComments)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || (spec.Name.Name != "Forgery" && spec.Name.Name != "Cast") {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			name := field.Names[0].Name
			require.NotNil(t, field.Doc, name)
			require.Regexp(t, "^"+name+" .*[.]$", strings.ReplaceAll(strings.TrimSpace(field.Doc.Text()), "\n", " "))
		}
		return false
	})

	names, used := map[string]bool{}, map[string]bool{}
	for _, row := range everyForgery() {
		require.Regexp(t, regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`), row.Name)
		names[row.Name] = true
		value := reflect.ValueOf(row.Forgery)
		require.False(t, value.IsZero(), "%s is honest", row.Name)
		for i := range value.NumField() {
			if !value.Field(i).IsZero() {
				used[value.Type().Field(i).Name] = true
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[fakeserver.Forgery]()) {
		require.True(t, used[field.Name], "no forgery of the table uses %s", field.Name)
	}
	for name := range exceptions {
		require.True(t, names[name], "%s is no row of the table", name)
	}
}

// Every entry of the catalogue's table of forgeries is there, but for those that are about the path on
// which an event comes.
func TestForgeryTableIsComplete(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{"MSC4243-FORGE-51": true, "MSC4243-FORGE-52": true, "MSC4243-FORGE-53": true}
	for _, row := range fakeserver.Forgeries() {
		covered[row.Requirement] = true
	}
	for i := 1; i <= 59; i++ {
		require.True(t, covered["MSC4243-FORGE-"+string(rune('0'+i/10))+string(rune('0'+i%10))], "MSC4243-FORGE-%02d", i)
	}
}
