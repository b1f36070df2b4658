package fakeserver

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"countersign/matrix"
)

// User is an account of a fake server: an account name, and an account key for rooms with account
// keys. It is safe for concurrent use.
type User struct {
	server  *Server
	name    string
	account matrix.Account

	mu     sync.Mutex
	answer *AccountAnswer // nil: as the server answers
	erased bool
}

// UserOption changes what [Server.NewUser] makes.
type UserOption func(*userOptions)

type userOptions struct {
	account  *matrix.Account
	spelling string
	plain    bool
}

// WithAccount gives the user an existing account key, such as one that was stolen from another
// server.
func WithAccount(a matrix.Account) UserOption {
	return func(o *userOptions) { o.account = &a }
}

// WithAnyKey takes the first account key that comes. Without it keys are minted until their text
// contains both characters in which the URL-safe alphabet of base64 differs from the standard one,
// '-' and '_': they show whether a server escapes paths and keeps the alphabets apart, and some
// forgeries need them.
func WithAnyKey() UserOption { return func(o *userOptions) { o.plain = true } }

// WithKeyText mints account keys until the text of one contains the given one, of a character or
// two: each further character takes 64 times as long.
func WithKeyText(text string) UserOption { return func(o *userOptions) { o.spelling = text } }

// NewUser makes an account. The name is not checked against any grammar. The error says that the
// name is taken, or that no key could be minted.
func (s *Server) NewUser(name string, options ...UserOption) (*User, error) {
	var o userOptions
	for _, option := range options {
		option(&o)
	}
	account, err := o.mint()
	if err != nil {
		return nil, fmt.Errorf("user %q of %s: %w", name, s.name, err)
	}
	u := &User{server: s, name: name, account: account}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[name] != nil {
		return nil, fmt.Errorf("user %q of %s exists already", name, s.name)
	}
	s.users[name] = u
	s.byKey[account.Key()] = u
	return u, nil
}

func (o userOptions) mint() (matrix.Account, error) {
	if o.account != nil {
		return *o.account, nil
	}
	for {
		a, err := matrix.NewAccount()
		if err != nil {
			return a, fmt.Errorf("minting an account key: %w", err)
		}
		text := a.Key().String()
		if strings.Contains(text, o.spelling) && (o.plain || strings.Contains(text, "-") && strings.Contains(text, "_")) {
			return a, nil
		}
	}
}

// User is the account of a name, or nil.
func (s *Server) User(name string) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[name]
}

// extra is a user who is there when nobody else plays a part.
func (s *Server) extra(part string) (*User, error) {
	name := "countersign-" + part
	if u := s.User(name); u != nil {
		return u, nil
	}
	u, err := s.NewUser(name)
	if existing := s.User(name); err != nil && existing != nil {
		return existing, nil // another room was faster
	}
	return u, err
}

// UserByID finds the account that a user ID of any form belongs to, or nil: of those that name a server
// key, the key must be one that the server holds.
func (s *Server) UserByID(id matrix.UserID) *User {
	if id.Domain() != s.name {
		return s.userThrough(id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[id.Localpart()]; u != nil {
		return u
	}
	key, err := id.AccountKey()
	if err != nil {
		return nil
	}
	return s.byKey[key]
}

// Users are the accounts, ordered by name.
func (s *Server) Users() []*User {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]*User, 0, len(s.users))
	for _, u := range s.users {
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b *User) int { return strings.Compare(a.name, b.name) })
	return users
}

// Server is the server that the account belongs to.
func (u *User) Server() *Server { return u.server }

// Name is the account name.
func (u *User) Name() string { return u.name }

// Account is the account key with its private half.
func (u *User) Account() matrix.Account { return u.account }

// Key is the text of the account key.
func (u *User) Key() string { return u.account.Key().String() }

// NameID is the account name user ID, "@{account name}:{domain}".
func (u *User) NameID() matrix.UserID {
	return matrix.UserID("@" + u.name + ":" + string(u.server.name))
}

// KeyID is the account key user ID, "@{account key}:{domain}".
func (u *User) KeyID() matrix.UserID { return u.account.Key().UserID(u.server.name) }

// ID is the user ID under which the user acts in rooms of a version. In rooms of MSC4345 it depends on the
// room: see [Room.UserID]; what is returned for them is the account name user ID.
func (u *User) ID(v matrix.RoomVersion) matrix.UserID {
	switch v.Identity {
	case matrix.AccountKeyIdentity:
		return u.KeyID()
	case matrix.PortableIdentity:
		return u.account.Key().PortableUserID()
	}
	return u.NameID()
}

// Signer signs the user's events in rooms of a version: the account key, or the server's key. In rooms with
// participation a server key signs too, or alone: see [Room.Key].
func (u *User) Signer(v matrix.RoomVersion) matrix.Signer {
	if v.HasAccountKeys() {
		return u.account.Signer()
	}
	return u.server.signer
}

// AnswerWith answers /query/accounts for this user's key as told from now on, in place of what
// [Server.AnswerAccounts] says. What concerns the answer as a whole (its status, its manner) happens
// to every query that asks for the key, unless the server's answer says something about it.
func (u *User) AnswerWith(a AccountAnswer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answer = &a
}

func (u *User) ownAnswer() *AccountAnswer {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.answer
}

func (u *User) isErased() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.erased
}

// Erase erases the user: from now on /query/accounts says M_ERASED, signed by the account key, and
// lists the key among the erased (MSC4243, "Handling GDPR erasure"). It returns the erasure ID that
// covers it.
func (u *User) Erase() int {
	u.mu.Lock()
	u.erased = true
	u.mu.Unlock()
	s := u.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.erasures, u); i >= 0 {
		return i + 1
	}
	s.erasures = append(s.erasures, u)
	return len(s.erasures)
}
