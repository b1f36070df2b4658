package blueprints

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/helpers/csapi"
)

// overviewTitle is the first line of a transcript that begins with an overview. The report reads the
// lines up to the first empty one: "hs1 = name", and then "+0.012s  who -> whom  question  answer",
// with two spaces or more between the parts.
const overviewTitle = "overview"

// names are the short names by which an overview calls those who take part: hs1 for a homeserver,
// fake1 for a fake server, and @alice for a user, whichever devices and accounts the user has.
type names struct {
	short map[string]string
	lines strings.Builder
	// only is the homeserver of a deployment that has no other.
	only string
}

func (s *Scene) names() *names {
	n := &names{short: map[string]string{}}
	servers := s.deployment.Servers()
	for _, server := range servers {
		n.add(server.Alias(), server.Name())
	}
	if len(servers) == 1 {
		n.only = servers[0].Alias()
	}
	for i, peer := range s.peers {
		n.add(fmt.Sprintf("fake%d", i+1), string(peer.Name()))
	}
	return n
}

func (n *names) add(short, name string) {
	n.short[name] = short
	fmt.Fprintf(&n.lines, "%s = %s\n", short, name)
}

// String is the head of the overview.
func (n *names) String() string { return overviewTitle + "\n" + n.lines.String() }

// server is the short name of a server. What is not known by name is the address of a connection on
// which nobody said who is asking.
func (n *names) server(name string) string {
	switch short := n.short[name]; {
	case short != "":
		return short
	case n.only != "":
		return n.only
	}
	return "somebody"
}

// user is the short name of a user: the account name without what makes it unique.
func user(r *csapi.Response) string {
	account := strings.TrimPrefix(r.User, "@")
	if account == "" {
		account = gjson.GetBytes(r.RequestBody, "username").String()
	}
	if account == "" {
		account = gjson.GetBytes(r.RequestBody, "identifier.user").String()
	}
	account, _, _ = strings.Cut(strings.TrimPrefix(account, "@"), ":")
	if cut := strings.LastIndexByte(account, '-'); cut > 0 {
		account = account[:cut]
	}
	if account == "" {
		account = "nobody"
	}
	return "@" + part(account)
}

func (n *names) ofClient(r *csapi.Response) string {
	answer := "no answer"
	if r.Err == nil {
		answer = outcome(r.Status, r.Body)
	}
	return line(user(r), n.server(r.Server), question(r.Method, r.Target, r.RequestBody), answer)
}

func (n *names) ofPeer(peer string, e fakeserver.Exchange) string {
	from, to := n.server(peer), n.server(string(e.Peer))
	switch e.Direction {
	case fakeserver.Note:
		return ""
	case fakeserver.Inbound:
		from, to = to, from
	}
	answer := "no answer"
	if e.Status != 0 {
		answer = outcome(e.Status, e.ResponseBody)
	}
	return line(from, to, question(e.Method, e.URI, e.RequestBody), answer)
}

func line(from, to, question, answer string) string {
	return fmt.Sprintf("%-20s  %-44s  %s", from+" -> "+to, question, answer)
}

// outcome is the status, and the error code where there is one.
func outcome(status int, body []byte) string {
	text := fmt.Sprint(status)
	if status != http.StatusOK {
		if code := gjson.GetBytes(body, "errcode").String(); code != "" {
			text += " " + part(code)
		}
	}
	return text
}

// question is the request without what would only tell one test from another: versions, queries,
// and the ends of identifiers. Events that it carries are named by their types.
func question(method, uri string, body []byte) string {
	path, _, _ := strings.Cut(uri, "?")
	parts := strings.Split(strings.TrimPrefix(path, "/_matrix/"), "/")
	if len(parts) > 1 && (parts[0] == "client" || parts[0] == "federation") {
		federation := parts[0] == "federation"
		parts = parts[1:]
		if parts[0] == "unstable" && len(parts) > 2 && strings.Contains(parts[1], ".") {
			parts = parts[1:]
		}
		parts = parts[1:]
		switch { // without the ID of a transaction
		case federation && len(parts) > 1 && parts[0] == "send":
			parts = parts[:1]
		case !federation && len(parts) == 5 && (parts[2] == "send" || parts[2] == "redact"):
			parts = parts[:4]
		}
	}
	for i, p := range parts {
		if decoded, err := url.PathUnescape(p); err == nil {
			p = decoded
		}
		parts[i] = part(p)
	}
	text := method + " /" + strings.Join(parts, "/")
	if events := events(body); events != "" {
		text += " " + events
	}
	return text
}

// events names the events in a request of the federation API: those of a transaction, or the one of
// a handshake.
func events(body []byte) string {
	var types []string
	add := func(event gjson.Result) {
		kind := eventType(event.Get("type").String())
		if kind == "" || !event.Get("sender").Exists() {
			return
		}
		for _, key := range [...]string{"membership", "participation"} {
			if value := event.Get("content." + key).String(); value != "" {
				kind += " (" + part(value) + ")"
				break
			}
		}
		types = append(types, kind)
	}
	whole := gjson.ParseBytes(body)
	for _, pdu := range whole.Get("pdus").Array() {
		add(pdu)
	}
	add(whole.Get("event"))
	add(whole)
	const shown = 3
	if len(types) > shown {
		types = append(types[:shown], fmt.Sprintf("and %d more", len(types)-shown))
	}
	return strings.Join(types, ", ")
}

// eventType is the type of an event; a long one keeps its end, which says what it is about.
func eventType(text string) string {
	if dot := strings.LastIndexByte(text, '.'); dot > 0 && len(text) > longestPart {
		text = "…" + text[dot+1:]
	}
	return part(text)
}

// longestPart is how many letters a piece of an overview's line has.
const longestPart = 28

// part is a piece of an overview's line: short, and without what would break the line up. Names that
// are long keep their beginnings.
func part(text string) string {
	const kept = 8
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return r <= ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029'
	}), "_")
	if runes := []rune(text); len(runes) > longestPart {
		text = string(runes[:kept]) + "…"
	}
	return text
}
