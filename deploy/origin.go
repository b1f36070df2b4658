package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

// Origin is where a homeserver comes from, as exactly as its target can tell.
type Origin struct {
	// Target is the target of this server, such as "docker:IMAGE"; the servers of a deployment may
	// come from different ones.
	Target string
	// Digest is the SHA-256 of what runs, as "sha256:" and hexadecimal digits: the ID of an image, or
	// that of a program's file. It is empty when it cannot be known.
	Digest string
}

// FileDigest is the digest of a program's file, or empty when it cannot be read.
func FileDigest(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return ""
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}
