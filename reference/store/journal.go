package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// journal is the file from which a store is read when it is opened. It holds a record for each commit, in
// their order: a length, a checksum, and the changes of the commit.
type journal struct {
	file *os.File
	size int64
}

const recordHeader = 8

var errDamaged = errors.New("the file is damaged")

// readJournal hands every change of a file to apply. Whatever follows the last whole record was never
// answered for, as the process was killed while it wrote, and is cut off.
func readJournal(file *os.File, apply func(change)) (*journal, error) {
	content, err := os.ReadFile(file.Name())
	if err != nil {
		return nil, err
	}
	j := &journal{file: file}
	for rest := content; len(rest) >= recordHeader; rest = content[j.size:] {
		length := uint64(binary.LittleEndian.Uint32(rest))
		if length > uint64(len(rest)-recordHeader) {
			break
		}
		changes := rest[recordHeader : recordHeader+length]
		if crc32.ChecksumIEEE(changes) != binary.LittleEndian.Uint32(rest[4:]) {
			break
		}
		for len(changes) > 0 {
			var c change
			if c, changes = readChange(changes); c.kind == 0 {
				return nil, fmt.Errorf("%w in the record at byte %d", errDamaged, j.size)
			}
			apply(c)
		}
		j.size += recordHeader + int64(length)
	}
	return j, file.Truncate(j.size)
}

// newRecord is a record without changes.
func newRecord() []byte { return make([]byte, recordHeader, 1024) }

// write appends a record to the file. It leaves nothing of one that it cannot write.
func (j *journal) write(record []byte) error {
	changes := record[recordHeader:]
	binary.LittleEndian.PutUint32(record, uint32(len(changes)))
	binary.LittleEndian.PutUint32(record[4:], crc32.ChecksumIEEE(changes))
	if _, err := j.file.WriteAt(record, j.size); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(record))
	return nil
}

// change is one thing that a commit has done to a table. Only a put has a value, and only a next has no key.
type change struct {
	kind       changeKind
	table      string
	key, value []byte
}

type changeKind byte

const (
	put changeKind = iota + 1
	deletion
	next
)

func (c change) appendTo(record []byte) []byte {
	record = append(record, byte(c.kind))
	for _, field := range [...][]byte{[]byte(c.table), c.key, c.value} {
		record = append(binary.AppendUvarint(record, uint64(len(field))), field...)
	}
	return record
}

// readChange reads what appendTo has appended, and returns what follows it. The kind of a change that
// cannot be read is 0.
func readChange(record []byte) (c change, rest []byte) {
	kind, rest := changeKind(record[0]), record[1:]
	var fields [3][]byte
	for i := range fields {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return change{}, nil
		}
		end := n + int(length)
		fields[i], rest = rest[n:end:end], rest[end:]
	}
	return change{kind, string(fields[0]), fields[1], fields[2]}, rest
}
