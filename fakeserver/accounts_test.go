package fakeserver_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

func TestQueryAccountsHonest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	bob, eve := user(t, fs, "bob"), user(t, fs, "eve")
	unknown, err := matrix.NewAccount()
	require.NoError(t, err)

	r, err := hs.QueryAccounts(ctx(t), fs.Name(), bob.Key(), bob.Key(), unknown.Key().String(), "rubbish", string(bob.NameID()))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.Status)
	entries := r.Get("account_keys").Map()
	require.Len(t, entries, 4)
	entry := entries[bob.Key()]
	require.Equal(t, "bob", entry.Get("account_name").String())
	require.Equal(t, string(fs.Name()), entry.Get("domain").String())
	require.NoError(t, matrix.VerifyJSON([]byte(entry.Raw), bob.Key(), matrix.AccountKeyID, bob.Account().Key().PublicKey()))
	require.JSONEq(t, `{"errcode":"M_UNKNOWN"}`, entries[unknown.Key().String()].Raw)
	require.False(t, r.Get("erasure").Exists())

	// Erasure: the cursor counts, and the limit holds.
	require.Equal(t, 1, bob.Erase())
	require.Equal(t, 2, eve.Erase())
	require.Equal(t, 1, bob.Erase())
	ask := func(id, limit int) gjson.Result {
		r, err := hs.Do(ctx(t), fs.Name(), http.MethodPost, fakeserver.AccountsPath,
			map[string]any{"erasure": map[string]int{"id": id, "limit": limit}})
		require.NoError(t, err)
		return gjson.ParseBytes(r.Body)
	}
	page := ask(0, 1)
	require.JSONEq(t, `{"id":1,"has_more":true}`, page.Get("erasure").Raw)
	entry = page.Get("account_keys").Map()[bob.Key()]
	require.Equal(t, "M_ERASED", entry.Get("errcode").String())
	require.False(t, entry.Get("account_name").Exists())
	require.NoError(t, matrix.VerifyJSON([]byte(entry.Raw), bob.Key(), matrix.AccountKeyID, bob.Account().Key().PublicKey()))
	page = ask(1, 5)
	require.JSONEq(t, `{"id":2,"has_more":false}`, page.Get("erasure").Raw)
	require.Len(t, page.Get("account_keys").Map(), 1)
	require.Empty(t, ask(2, 5).Get("account_keys").Map())

	e, err := fs.WaitRequest(ctx(t), fakeserver.AsksFor(bob.Key()))
	require.NoError(t, err)
	require.Equal(t, hs.Name(), e.Peer)
	require.Empty(t, e.Auth)
}

// accepts is the answers whose entry for the asked key a strict requester takes for the truth.
var accepts = map[string]string{
	"honest": "bob", "renamed-account": "alice", "extra-property": "bob", "erased": "erased", "error-and-name": "bob",
	"erased-unsolicited": "bob", "erased-unsolicited-without-erasure": "bob", "unsolicited": "bob",
	"unsolicited-for-other-domain": "bob", "erasure-missing": "bob", "erasure-id-regresses": "bob",
	"erasure-without-progress": "bob", "erasure-beyond-the-limit": "bob",
	"unsigned-beside": "bob", "signed-by-others-too": "bob",
}

func TestAccountAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fs := w.server(t)
	c := w.config()
	c.Timeout, c.MaxBody = 500*time.Millisecond, 1<<20
	hs, err := fakeserver.Start(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, hs.Close()) })
	bob := user(t, fs, "bob")

	for _, row := range fakeserver.AccountAnswers() {
		bob.AnswerWith(row.Answer)
		r, err := hs.Do(ctx(t), fs.Name(), http.MethodPost, fakeserver.AccountsPath,
			map[string]any{"account_keys": []string{bob.Key()}, "erasure": map[string]int{"id": 0, "limit": 1}})
		if row.Answer.Manner != fakeserver.Plain {
			if row.Answer.Manner != fakeserver.GzipBomb { // the transport does not inflate it
				require.Error(t, err, row.Name)
			}
			continue
		}
		require.NoError(t, err, row.Name)
		entry := r.Get("account_keys." + gjson.Escape(bob.Key()))
		got := ""
		name := entry.Get("account_name")
		valid := r.Status == http.StatusOK && matrix.VerifyJSON([]byte(entry.Raw), bob.Key(), matrix.AccountKeyID, bob.Account().Key().PublicKey()) == nil &&
			entry.Get("domain").String() == string(fs.Name())
		switch {
		case valid && entry.Get("errcode").String() == "M_ERASED":
			got = "erased"
		case valid && name.Type == gjson.String:
			if _, err := matrix.ParseAccountName(name.String(), fs.Name()); err == nil {
				got = name.String()
			}
		}
		require.Equal(t, accepts[row.Name], got, "%s: %s", row.Name, r.Body)
	}
}

func TestAccountAnswerTable(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "accountanswer.go", nil, parser.ParseComments)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "AccountAnswer" {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			name := field.Names[0].Name
			require.NotNil(t, field.Doc, name)
			require.Regexp(t, "^"+name+" .*[.]$", strings.ReplaceAll(strings.TrimSpace(field.Doc.Text()), "\n", " "))
		}
		return false
	})
	names, cases, used := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, row := range fakeserver.AccountAnswers() {
		require.Regexp(t, regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`), row.Name)
		require.False(t, names[row.Name], "%s is there twice", row.Name)
		names[row.Name], cases[row.Case] = true, true
		value := reflect.ValueOf(row.Answer)
		for i := range value.NumField() {
			if !value.Field(i).IsZero() {
				used[value.Type().Field(i).Name] = true
			}
		}
	}
	require.Len(t, cases, 26)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[fakeserver.AccountAnswer]()) {
		require.True(t, used[field.Name], "no answer of the table uses %s", field.Name)
	}
	for name := range accepts {
		require.True(t, names[name], name)
	}
}
