package account

import (
	"context"
	"encoding/json"

	"countersign/matrix"
)

// portableAccountsPath is the endpoint for accounts of rooms of MSC4348. D-51: the proposal writes its
// unstable path with "4348" alone.
const portableAccountsPath = "/_matrix/federation/v1/query/org.matrix.4348.accounts"

// Portable is an account key user ID without its domain, as rooms of MSC4348 know the user.
func Portable(user matrix.UserID) matrix.UserID {
	if user == "" {
		return ""
	}
	return matrix.UserID("@" + user.Localpart())
}

// At is a portable user ID as an account of a domain: "@{account key}:{domain}". It is by this that the
// Directory knows portable accounts. D-58: an account that moves may find its name taken, so what a domain
// has said of a key holds for events of that domain's alone; were it kept by key alone, an account could
// move to a domain where it has another's name and then seem to have been that other all along.
func At(user matrix.UserID, domain matrix.ServerName) matrix.UserID {
	return Portable(user) + ":" + matrix.UserID(domain)
}

// VerifyPortable is Verify for accounts of rooms of MSC4348, each as At makes it: the domain is that of
// the server that has co-signed the account's latest membership (MSC4348, "Obtaining account and profile
// information as a server").
func (d *Directory) VerifyPortable(ctx context.Context, accounts ...matrix.UserID) {
	await(ctx, d.begin(source{portable: true}.subjects(accounts)))
}

// VerifyPortableBriefly is VerifyBriefly for accounts of rooms of MSC4348.
func (d *Directory) VerifyPortableBriefly(ctx context.Context, accounts ...matrix.UserID) {
	d.awaitBriefly(ctx, d.begin(source{portable: true}.subjects(accounts)))
}

// AccountName is the name, without sigil and domain, of a portable account at a domain; ok is false when
// the domain has not confirmed it, or the account has been erased.
func (d *Directory) AccountName(user matrix.UserID, domain matrix.ServerName) (name string, ok bool) {
	e := d.Lookup(At(user, domain))
	return e.Name.Localpart(), e.State == Verified
}

// AnswerTo is Answer to a server that may not know of every account: keys that it may not know of are answered as if
// they did not exist. known reports whether it may know of an account, given as a portable user ID, who has been
// erased or not. D-51: for accounts of rooms of MSC4348 there must be a room in which both are ("the requested server
// must verify that the requesting server is participating in common rooms to those of the queried account key").
func (d *Directory) AnswerTo(body []byte, known func(user matrix.UserID, erased bool) (bool, error)) ([]byte, error) {
	return d.answer(body, func(key string, entry json.RawMessage) (bool, error) {
		return known(matrix.UserID("@"+key), isErasure(entry))
	})
}
