package matrix

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What an operation may cost, as a multiple of the unavoidable part of it, taken in the same run.
const (
	buildTarget     = 1.6 // building, hashing and signing an event: ed25519.Sign
	receiveTarget   = 1.4 // parsing an event and verifying its signature: ed25519.Verify
	canonicalTarget = 1.2 // canonical JSON of an event of 1 KB: json.Compact
)

// ratio runs whole and part in turns, repeat times each per turn, and returns how much longer the
// whole takes.
func ratio(turns, repeat int, whole, part func()) float64 {
	var w, p time.Duration
	for range turns {
		start := time.Now()
		for range repeat {
			whole()
		}
		middle := time.Now()
		for range repeat {
			part()
		}
		w, p = w+middle.Sub(start), p+time.Since(middle)
	}
	return float64(w) / float64(p)
}

// sample is a pair of operations to compare.
type sample struct {
	target      float64
	repeat      int
	whole, part func()
}

func benchEvent() (ProtoEvent, Account) {
	account := AccountFromSeed([]byte(strings.Repeat("s", 32)))
	id := func(c string) string { return "$" + strings.Repeat(c, 43) }
	return ProtoEvent{
		Type: "m.room.message", Sender: account.Key().UserID("one.example"), RoomID: "!" + strings.Repeat("r", 43),
		Content:    fmt.Appendf(nil, `{"body":%q,"msgtype":"m.text"}`, strings.Repeat("a word or two, ", 20)),
		PrevEvents: []string{id("p")}, AuthEvents: []string{id("a"), id("b")}, Depth: 17, OriginServerTS: 1700000000000,
	}, account
}

func buildSample(t testing.TB) sample {
	p, account := benchEvent()
	e, err := p.Build(RoomVersionMSC4243(), account.Signer())
	require.NoError(t, err)
	key, message := account.Signer().Key, e.SigningBytes()
	return sample{buildTarget, 1,
		func() {
			if _, err := p.Build(RoomVersionMSC4243(), account.Signer()); err != nil {
				t.Fatal(err)
			}
		},
		func() { ed25519.Sign(key, message) },
	}
}

func receiveSample(t testing.TB) sample {
	p, account := benchEvent()
	e, err := p.Build(RoomVersionMSC4243(), account.Signer())
	require.NoError(t, err)
	pdu, message, key := e.JSON(), e.SigningBytes(), account.Key().PublicKey()
	signature := ed25519.Sign(account.Signer().Key, message)
	return sample{receiveTarget, 1,
		func() {
			e, err := ParseEvent(RoomVersionMSC4243(), pdu)
			if err != nil || e.VerifyAccountKey(e.Sender()) != nil {
				t.Fatal("the event is refused")
			}
		},
		func() {
			if !ed25519.Verify(key, message, signature) {
				t.Fatal("the signature is refused")
			}
		},
	}
}

// canonicalSample canonicalises an event of 1 KB that is canonical already, as honest servers send it.
func canonicalSample(t testing.TB) sample {
	p, account := benchEvent()
	e, err := p.Build(RoomVersionMSC4243(), account.Signer())
	require.NoError(t, err)
	require.InDelta(t, 1000, len(e.JSON()), 100)
	return canonicaliseSample(t, e.JSON())
}

// unsortedSample is canonicalSample with all keys in reverse order and white space between.
func unsortedSample(t testing.TB) sample {
	p, account := benchEvent()
	e, err := p.Build(RoomVersionMSC4243(), account.Signer())
	require.NoError(t, err)
	var members []string
	for f := range fields(e.JSON()) {
		members = append(members, string(f.text))
	}
	slices.Reverse(members)
	return canonicaliseSample(t, []byte("{\n  "+strings.Join(members, ",\n  ")+"\n}\n"))
}

func canonicaliseSample(t testing.TB, doc []byte) sample {
	var canonical []byte
	var compact bytes.Buffer
	var err error
	return sample{canonicalTarget, 100,
		func() {
			canonical, err = AppendCanonicalJSON(canonical[:0], doc)
			if err != nil {
				t.Fatal(err)
			}
		},
		func() {
			compact.Reset()
			if err := json.Compact(&compact, doc); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func BenchmarkBuildEvent(b *testing.B)            { bench(b, buildSample(b), "x-sign") }
func BenchmarkReceiveEvent(b *testing.B)          { bench(b, receiveSample(b), "x-verify") }
func BenchmarkCanonicalJSON(b *testing.B)         { bench(b, canonicalSample(b), "x-compact") }
func BenchmarkCanonicalJSONUnsorted(b *testing.B) { bench(b, unsortedSample(b), "x-compact") }

func bench(b *testing.B, s sample, unit string) {
	b.ReportAllocs()
	b.ResetTimer()
	b.ReportMetric(ratio(b.N, s.repeat, s.whole, s.part), unit)
}

// TestTargetsAreHeld fails when a target is missed by far, which says that something broke and not
// that the machine is busy; the benchmarks tell by how much the targets are held.
func TestTargetsAreHeld(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector slows Go code down, but not the assembly of crypto/ed25519")
	}
	for name, s := range map[string]sample{
		"build": buildSample(t), "receive": receiveSample(t), "canonical JSON": canonicalSample(t), "unsorted JSON": unsortedSample(t),
	} {
		best := ratio(100, s.repeat, s.whole, s.part)
		for range 4 {
			best = min(best, ratio(100, s.repeat, s.whole, s.part))
		}
		if best > 2*s.target {
			t.Errorf("%s takes %.2f times the raw operation, target %.1f", name, best, s.target)
		}
	}
}
