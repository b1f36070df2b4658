package clientapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"sync"
	"time"

	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// Bounds of the nonces that may be outstanding at once.
const (
	nonceLifetime = time.Minute
	maxNonces     = 1000
)

// nonces are the one-time numbers of the shared-secret registration.
type nonces struct {
	mu      sync.Mutex
	now     func() time.Time
	expires map[string]time.Time
}

func newNonces(now func() time.Time) *nonces {
	return &nonces{now: now, expires: map[string]time.Time{}}
}

// issue returns a fresh nonce, or false when too many are outstanding.
func (n *nonces) issue() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if len(n.expires) >= maxNonces {
		for nonce, expires := range n.expires {
			if now.After(expires) {
				delete(n.expires, nonce)
			}
		}
	}
	if len(n.expires) >= maxNonces {
		return "", false
	}
	nonce := rand.Text()
	n.expires[nonce] = now.Add(nonceLifetime)
	return nonce, true
}

// spend reports whether a nonce is good, which it is once.
func (n *nonces) spend(nonce string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	expires, ok := n.expires[nonce]
	delete(n.expires, nonce)
	return ok && n.now().Before(expires)
}

// adminNonce answers GET /_synapse/admin/v1/register, the shared-secret registration that test
// harnesses know from Synapse.
func (a *API) adminNonce(*call) (any, error) {
	if a.secret == "" {
		return nil, unrecognised(http.StatusNotFound)
	}
	nonce, ok := a.nonces.issue()
	if !ok {
		return nil, peer.Errorf(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "too many nonces are outstanding")
	}
	return map[string]string{"nonce": nonce}, nil
}

// adminRegister answers POST /_synapse/admin/v1/register. The MAC proves that the caller knows the
// secret; it covers nonce, name, password and whether the account is an administrator's.
func (a *API) adminRegister(c *call) (any, error) {
	if a.secret == "" {
		return nil, unrecognised(http.StatusNotFound)
	}
	var body struct {
		Nonce        string `json:"nonce"`
		Username     string `json:"username"`
		Displayname  string `json:"displayname"`
		Password     string `json:"password"`
		UserType     string `json:"user_type"`
		Admin        bool   `json:"admin"`
		MAC          string `json:"mac"`
		InhibitLogin bool   `json:"inhibit_login"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	for name, value := range map[string]string{"nonce": body.Nonce, "username": body.Username, "password": body.Password, "mac": body.MAC} {
		if value == "" {
			return nil, missingParam(name)
		}
	}
	if !a.nonces.spend(body.Nonce) {
		return nil, peer.Errorf(http.StatusBadRequest, "M_UNKNOWN", "the nonce is not known, or no longer")
	}
	mac := hmac.New(sha1.New, []byte(a.secret))
	mac.Write([]byte(body.Nonce + "\x00" + body.Username + "\x00" + body.Password + "\x00" + adminText(body.Admin)))
	if body.UserType != "" {
		mac.Write([]byte("\x00" + body.UserType))
	}
	given, err := hex.DecodeString(body.MAC)
	if err != nil || !hmac.Equal(mac.Sum(nil), given) {
		return nil, peer.Forbidden("the MAC is not right")
	}
	user, err := a.freeName(body.Username)
	if err != nil {
		return nil, err
	}
	if err := a.createUser(userdb.User{ID: user, Admin: body.Admin}, body.Password); err != nil {
		return nil, err
	}
	if body.Displayname != "" {
		if err := a.users.SetProfileField(user, "displayname", mustJSON(body.Displayname)); err != nil {
			return nil, err
		}
	}
	if body.InhibitLogin {
		return map[string]any{"user_id": user}, nil
	}
	return a.newSession(c, user, "", "")
}

func adminText(admin bool) string {
	if admin {
		return "admin"
	}
	return "notadmin"
}
