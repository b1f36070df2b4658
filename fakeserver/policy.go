package fakeserver

import (
	"crypto/ed25519"
	"crypto/sha256"
	"net/http"

	"countersign/matrix"
)

// policyKeyID is the key ID under which every policy server signs (server-server API, "Validating
// Policy Server signatures").
const policyKeyID matrix.KeyID = "ed25519:policy_server"

// PolicySigner signs as the policy server that every fake server is. Its key is not the one that the
// server publishes: rooms hold it, in m.room.policy.
func (s *Server) PolicySigner() matrix.Signer {
	seed := sha256.Sum256(append([]byte("policy server "), s.signer.Key.Seed()...))
	return matrix.Signer{Entity: string(s.name), KeyID: policyKeyID, Key: ed25519.NewKeyFromSeed(seed[:])}
}

// PolicyContent is the content of m.room.policy by which a room makes this server its policy server.
func (s *Server) PolicyContent() map[string]any {
	public, _ := s.PolicySigner().Key.Public().(ed25519.PublicKey) // it is nothing else
	return map[string]any{"via": s.name, "public_keys": map[string]any{"ed25519": matrix.EncodeBase64(public)}}
}

// servePolicySign answers POST /_matrix/policy/v1/sign: a fake server recommends every event.
func (s *Server) servePolicySign(q *Inquiry) Answer {
	message, err := matrix.EventSigningBytes(q.Body)
	if err != nil {
		return badJSON("the event cannot be signed: %v", err)
	}
	signer := s.PolicySigner()
	signature := matrix.EncodeBase64(ed25519.Sign(signer.Key, message))
	return JSON(http.StatusOK, map[string]any{string(s.name): map[matrix.KeyID]string{policyKeyID: signature}})
}
