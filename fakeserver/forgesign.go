package fakeserver

import (
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
)

// message is what the sender's signature covers.
func (b *builder) message(redacted []byte, eventID string) ([]byte, error) {
	var err error
	switch b.SignOver {
	case WholeEvent:
		redacted, err = matrix.CanonicalJSON(b.doc)
	case WithUnsigned:
		if b.Forgery.Unsigned == "" && b.ProtoEvent.Unsigned == nil {
			b.ProtoEvent.Unsigned = []byte(`{"age":1}`)
		}
		redacted, err = sjson.SetRawBytes(redacted, "unsigned", []byte(b.ProtoEvent.Unsigned))
	case WithEventID:
		redacted, err = sjson.SetBytes(redacted, "event_id", eventID)
	case OtherEvent:
		redacted, err = sjson.SetBytes(redacted, "origin_server_ts", b.OriginServerTS+1)
	case UnsortedKeys:
		var members []string
		gjson.ParseBytes(redacted).ForEach(func(key, value gjson.Result) bool {
			members = append(members, key.Raw+":"+value.Raw)
			return true
		})
		slices.Reverse(members)
		return b.plain([]byte("{" + strings.Join(members, ",") + "}")), nil
	}
	if err != nil {
		return nil, err
	}
	if redacted, err = matrix.CanonicalJSON(redacted); err != nil {
		return nil, err
	}
	return b.plain(redacted), nil
}

// key chooses a signing key.
func (b *builder) key(k Key, honest ed25519.PrivateKey) (ed25519.PrivateKey, error) {
	switch {
	case k == ServerKey:
		return b.Author.server.signer.Key, nil
	case k == AccountKey:
		return b.Author.account.Signer().Key, nil
	case k == OtherKey && b.Cast.Other != nil:
		return b.Cast.Other.account.Signer().Key, nil
	case k == StrangerKey && b.Cast.Stranger != nil:
		return b.Cast.Stranger.account.Signer().Key, nil
	case k == HonestKey:
		return honest, nil
	}
	return nil, errors.New("the cast lacks the one whose key is to sign")
}

// signer is who signs the event as its sender.
func (b *builder) signer() matrix.Signer {
	signer := b.Author.Signer(b.Version)
	switch {
	case b.SignWithServerKeyOnly:
		return b.Author.server.signer
	case b.Version.Identity == matrix.ServerKeyIdentity:
		signer = b.ServerKey.Signer()
		if b.received == nil {
			signer.Entity = string(b.ProtoEvent.Sender.Domain())
		}
	case b.Version.HasAccountKeys() && b.received == nil:
		signer.Entity = b.ProtoEvent.Sender.Localpart()
	}
	return signer
}

// sign makes all signatures.
func (b *builder) sign(redacted []byte, eventID string) ([]filed, error) {
	message, err := b.message(redacted, eventID)
	if err != nil {
		return nil, err
	}
	signer := b.signer()
	key, err := b.key(b.SignWith, signer.Key)
	if err != nil {
		return nil, err
	}
	if b.SignWithServer != Nobody {
		pair, err := b.party(b.SignWithServer)
		if err != nil {
			return nil, err
		}
		key = pair.Signer().Key
	}
	signature := ed25519.Sign(key, message)
	if b.Edge != (Edge{}) {
		if signature, err = b.Edge.Sign(key, message); err != nil {
			return nil, err
		}
	}
	if b.names != nil {
		b.names = maps.Clone(b.names)
		b.names["sig"], b.names["event"] = matrix.EncodeBase64(signature), eventID
	}
	first, err := spelling{
		entity: b.SignatureEntity, keyID: b.SignatureKeyID, json: b.SignatureJSON, encoding: b.SignatureEncoding,
		cut: b.SignatureCut, add: b.SignatureAdd, flip: b.FlipSignatureBits, second: b.SecondSignature,
	}.file(b.names, signer.Entity, signer.KeyID, signature)
	if err != nil {
		return nil, err
	}
	if b.EmptyEntity {
		first.values = nil
	}
	var all []filed
	if !b.OmitSenderSignature {
		all = append(all, first)
	}
	cosigned, err := b.cosign(b.plain(redacted))
	if err != nil {
		return nil, err
	}
	countersigned, err := b.countersign(b.plain(redacted))
	if err != nil {
		return nil, err
	}
	for _, f := range slices.Concat(cosigned, countersigned) {
		there := func(g filed) bool { return f.entity == g.entity && f.keyID == g.keyID }
		if !slices.ContainsFunc(all, there) { // one server may be both
			all = append(all, f)
		}
	}
	if b.SwapSignatures {
		if len(all) != 2 {
			return nil, errors.New("there are not two signatures to swap")
		}
		all[0].values, all[1].values = all[1].values, all[0].values
	}
	for _, extra := range b.ExtraSignatures {
		f, err := spelling{entity: extra.Entity, keyID: extra.KeyID, json: extra.JSON}.file(b.names, "", "", signature)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// cosign makes the signatures of everyone but the sender.
func (b *builder) cosign(message []byte) ([]filed, error) {
	asked := b.OmitCoSignature || b.CoSignWith != HonestKey || b.CoSignWithServerKey || b.CoSignAsOther ||
		b.CoSignatureEntity != "" || b.CoSignatureKeyID != "" || b.CoSignatureJSON != ""
	if asked && len(b.CoSigners) == 0 {
		return nil, errors.New("the forgery is about a co-signature, but nobody co-signs the event")
	}
	if b.OmitCoSignature {
		return nil, nil
	}
	signers := make([]matrix.Signer, len(b.CoSigners))
	for i, u := range b.CoSigners {
		signers[i] = u.Signer(b.Version)
		if b.Version.Identity == matrix.ServerKeyIdentity {
			signers[i] = u.keyIn(b.RoomID, b.Author, b.ServerKey).Signer()
		}
	}
	switch {
	case b.CoSignWithServerKey:
		signers = []matrix.Signer{b.Author.server.signer}
	case b.CoSignAsOther && b.Cast.Other == nil:
		return nil, errors.New("the cast has no other to co-sign")
	case b.CoSignAsOther:
		signers = []matrix.Signer{b.Cast.Other.Signer(b.Version)}
	}
	var all []filed
	for _, s := range signers {
		key, err := b.key(b.CoSignWith, s.Key)
		if err != nil {
			return nil, err
		}
		f, err := spelling{entity: b.CoSignatureEntity, keyID: b.CoSignatureKeyID, json: b.CoSignatureJSON}.
			file(b.names, s.Entity, s.KeyID, ed25519.Sign(key, message))
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}
