package msc4243

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// model is what a homeserver should know about the account keys of a fake server: the state machine of
// "Handling GDPR erasure", moved by the answers that the homeserver was given. It goes by what was on the
// wire, so that it holds whenever and however often the homeserver asks.
type model struct {
	domain string
	// keys are the keys that were spoken of. One that is not among them is unverified.
	keys map[string]modelled
	// read are the numbers of the exchanges that the model has dealt with.
	read map[int]bool
}

// modelled is the model of one key.
type modelled struct {
	standing standing
	name     string // the account name, while the key is verified
}

func newModel(server matrix.ServerName) *model {
	return &model{domain: string(server), keys: map[string]modelled{}, read: map[int]bool{}}
}

// of is what the homeserver should know about a key.
func (m *model) of(key string) modelled {
	if known, ok := m.keys[key]; ok {
		return known
	}
	return modelled{standing: unverified}
}

// hear moves the model by the answers that it has not heard yet, and reports whether there were any.
func (m *model) hear(exchanges []fakeserver.Exchange) (news bool) {
	for _, e := range exchanges {
		if m.read[e.Number] || !e.Answered() {
			continue
		}
		m.read[e.Number], news = true, true
		if e.Status != http.StatusOK || e.Err != "" || !gjson.ValidBytes(e.ResponseBody) {
			continue
		}
		for key, entry := range gjson.GetBytes(e.ResponseBody, "account_keys").Map() {
			said := m.proves(key, entry)
			asked := slices.Contains(e.AskedKeys(), key)
			if asked || said.standing == erased && e.AsksForErasures() {
				m.keys[key] = m.of(key).after(said)
			}
		}
	}
	return news
}

// proves is what an entry of an answer proves about a key: a name, an erasure, or nothing.
func (m *model) proves(key string, entry gjson.Result) modelled {
	parsed, err := matrix.ParseAccountKey(key)
	if err != nil || !entry.IsObject() || entry.Get("domain").Str != m.domain ||
		matrix.VerifyJSON([]byte(entry.Raw), key, matrix.AccountKeyID, parsed.PublicKey()) != nil {
		return modelled{standing: unverified}
	}
	name, code := entry.Get("account_name"), entry.Get("errcode")
	switch {
	case code.Str == "M_ERASED" && !name.Exists():
		return modelled{standing: erased}
	case !code.Exists() && name.Type == gjson.String && m.isName(name.Str):
		return modelled{verified, name.Str}
	}
	return modelled{standing: unverified}
}

// isName reports whether a text makes a legal user ID with the domain, historical ones included
// (appendices, "User Identifiers"). Texts about which one can differ are not said on walks.
func (m *model) isName(text string) bool {
	return text != "" && !strings.ContainsAny(text, ":\x00") && len("@"+text+":"+m.domain) <= 255
}

// after is the state machine: unverified keys become what is proved of them, verified ones can only be
// erased, and erased ones stay so.
func (m modelled) after(proved modelled) modelled {
	if m.standing == unverified || m.standing == verified && proved.standing == erased {
		return proved
	}
	return m
}

// clientID is the user ID by which clients know the user of a key; empty when they must not.
func (m modelled) clientID(domain string) string {
	if m.standing != verified {
		return ""
	}
	return "@" + m.name + ":" + domain
}

// String is for messages, which are the same in every run: names are told by the walk.
func (m modelled) String() string { return fmt.Sprintf("is %s", m.standing) }
