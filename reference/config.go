// Package reference is the reference homeserver: a small, durable Matrix homeserver that is an
// executable reading of room version 12 and of the account-key proposals.
package reference

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"countersign/matrix"
)

// Config says how a homeserver runs.
type Config struct {
	// ServerName is the Matrix server name, such as "hs1" or "localhost:8448".
	ServerName string
	// DataDir is the folder that keeps the server's data; it is made when it does not exist.
	DataDir string
	// Certificate is presented to other servers; it must be valid for ServerName's host.
	Certificate tls.Certificate
	// RootCAs vouch for other servers; nil means the system's.
	RootCAs *x509.CertPool
	// ClientListener accepts clients (plain HTTP), FederationListener accepts servers (TLS is added).
	// The server closes both.
	ClientListener, FederationListener net.Listener
	// RegistrationSharedSecret is the secret of POST /_synapse/admin/v1/register; empty closes it.
	RegistrationSharedSecret string
	// AppServiceDir is a folder with registrations of application services, in files whose names end in
	// .yaml. It need not exist.
	AppServiceDir string
	// RoomVersions are the room versions that the server offers, that of new rooms first; nil means all
	// that it knows: version 12, MSC4243's, and those of MSC4345 and MSC4348 under the identifiers that
	// package matrix has for them. D-30: these two have none of their own, so that another server may know
	// them by others.
	RoomVersions []matrix.RoomVersion
	// Logger receives what the server has to say; nil discards it.
	Logger *slog.Logger
	// Defect is the name of a Mutant, a Variant or a DeadServer to be; empty for the honest homeserver.
	Defect string
	// Reached, unless it is nil, is called with the names of the mutants and variants from which this
	// server could have been told apart, as often as that is so. It must be safe for concurrent use.
	Reached func(defect string)
}

// check reports what is missing or malformed.
func (c Config) check() error {
	if _, err := matrix.ParseServerName(c.ServerName); err != nil {
		return err
	}
	if c.Defect != "" && !IsDefect(c.Defect) {
		return fmt.Errorf("there is no mutant, variant or dead server %q", c.Defect)
	}
	switch {
	case c.DataDir == "":
		return errors.New("no data folder is configured")
	case c.ClientListener == nil || c.FederationListener == nil:
		return errors.New("a client listener and a federation listener are needed")
	case len(c.Certificate.Certificate) == 0:
		return errors.New("no TLS certificate is configured")
	}
	return nil
}

// roomVersions are the room versions that the server offers.
func (c Config) roomVersions() []matrix.RoomVersion {
	if c.RoomVersions != nil {
		return c.RoomVersions
	}
	return append(matrix.RoomVersions(), matrix.ParticipationRoomVersions()...)
}
