package deploy

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes that can be written with a unit, such as 512MB or 1.5GiB.
type ByteSize int64

// binaryUnit and decimalUnit are what the prefix of a unit multiplies by.
const (
	binaryUnit  = 1024
	decimalUnit = 1000
)

// UnmarshalText reads a size as Complement does: decimal units end in B, binary ones in iB or, as
// in Docker's command line, in the bare prefix.
func (b *ByteSize) UnmarshalText(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	digits := strings.TrimRight(s, "kmgtpib ")
	unit := strings.TrimSpace(s[len(digits):])
	factor, ok := unitFactor(unit)
	number, isNumber := new(big.Rat).SetString(digits)
	if !ok || !isNumber || strings.ContainsAny(digits, "e/_x") || number.Sign() < 0 {
		return fmt.Errorf("%q is not a size; write bytes, or a number with a unit such as 512MB or 2GiB", text)
	}
	bytes := number.Mul(number, new(big.Rat).SetInt64(factor))
	whole := new(big.Int).Quo(bytes.Num(), bytes.Denom())
	if !whole.IsInt64() {
		return fmt.Errorf("%q is more bytes than can be counted", text)
	}
	*b = ByteSize(whole.Int64())
	return nil
}

func unitFactor(unit string) (int64, bool) {
	if unit == "" || unit == "b" {
		return 1, true
	}
	power := strings.IndexByte("kmgtp", unit[0]) + 1
	base, ok := map[string]int64{"": binaryUnit, "ib": binaryUnit, "b": decimalUnit}[unit[1:]]
	if power == 0 || !ok {
		return 0, false
	}
	factor := int64(1)
	for range power {
		factor *= base
	}
	return factor, true
}

// String is the number of bytes.
func (b ByteSize) String() string { return strconv.FormatInt(int64(b), 10) }

// HostMount is a folder of this machine that a container sees.
type HostMount struct {
	HostPath      string
	ContainerPath string
	ReadOnly      bool
}

// HostMounts is a list of mounts, written HOST:CONTAINER[:ro] and separated by semicolons.
type HostMounts []HostMount

// UnmarshalText reads the list; empty entries, as after a last semicolon, are passed over.
func (m *HostMounts) UnmarshalText(text []byte) error {
	var mounts HostMounts
	for entry := range strings.SplitSeq(string(text), ";") {
		if strings.TrimSpace(entry) == "" {
			continue
		}
		parts := strings.Split(strings.TrimSpace(entry), ":")
		mode := ""
		if len(parts) == 3 {
			mode = parts[2]
		}
		if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" ||
			(mode != "" && mode != "ro" && mode != "readonly" && mode != "rw") {
			return fmt.Errorf("%q is not a mount; write HOST:CONTAINER or HOST:CONTAINER:ro", entry)
		}
		mounts = append(mounts, HostMount{HostPath: parts[0], ContainerPath: parts[1], ReadOnly: mode == "ro" || mode == "readonly"})
	}
	*m = mounts
	return nil
}
