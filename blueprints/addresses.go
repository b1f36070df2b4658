package blueprints

import (
	"crypto/tls"
	"testing"

	"countersign/deploy"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
)

// PeerAt is [Scene.Peer] under another host name or address than the deployment's own for this process.
// The homeservers must be able to reach it by that.
func (s *Scene) PeerAt(t testing.TB, host string) *Peer {
	t.Helper()
	server, err := fakeserver.Start(s.peerConfig(t, host))
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Logf("closing a fake server: %v", err)
		}
	})
	peer := &Peer{Server: server}
	s.peers = append(s.peers, peer)
	return peer
}

func (s *Scene) peerConfig(t testing.TB, host string) fakeserver.Config {
	t.Helper()
	deployment := s.deployment
	return fakeserver.Config{
		Host:       host,
		ListenAddr: deployment.PeerListenAddr(),
		Issue:      deployment.CA().Issue,
		Transport:  deployment.Transport(),
		Ports:      conform.Ports(t),
		Timeout:    wait.Limit(),

		RoomVersions: conform.RoomVersions(t),
	}
}

// PeerHost is the host name under which the homeservers reach this process.
func (s *Scene) PeerHost() string { return s.deployment.PeerHost() }

// Mute listens in a server's name, and is no homeserver. With hangUp it closes every connection as
// soon as anything is said; without, it lets the other side wait.
func (s *Scene) Mute(t testing.TB, hangUp bool) *fakeserver.Mute {
	t.Helper()
	return s.MuteAt(t, s.PeerHost(), hangUp)
}

// MuteAt is [Scene.Mute] under another host name or address.
func (s *Scene) MuteAt(t testing.TB, host string, hangUp bool) *fakeserver.Mute {
	t.Helper()
	mute, err := fakeserver.StartMute(s.peerConfig(t, host), hangUp)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	t.Cleanup(func() {
		if err := mute.Close(); err != nil {
			t.Logf("closing a listener: %v", err)
		}
	})
	return mute
}

// CertificateFor is a certificate that the homeservers trust, for other hosts than the fake servers'.
func (s *Scene) CertificateFor(t testing.TB, hosts ...string) tls.Certificate {
	t.Helper()
	return issue(t, s.deployment.CA(), hosts...)
}

// UntrustedCertificate is a certificate for the fake servers' host by an authority that no homeserver
// has heard of.
func (s *Scene) UntrustedCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	stranger, err := deploy.NewCA()
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return issue(t, stranger, s.PeerHost())
}

func issue(t testing.TB, authority *deploy.CA, hosts ...string) tls.Certificate {
	t.Helper()
	certificate, err := authority.Issue(hosts...)
	if err != nil {
		conform.HarnessError(t, "issuing a certificate for %v: %v", hosts, err)
	}
	return certificate
}
