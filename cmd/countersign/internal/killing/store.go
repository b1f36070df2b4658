package killing

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// journal keeps what has been found out, so that a trial that was interrupted can go on. It is a file
// with one JSON object per line; its first line names the programs that it is about.
type journal struct {
	mutex sync.Mutex
	file  *os.File
	known map[string]json.RawMessage
}

type journalLine struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

const identityKey = "identity"

// openJournal reads the journal of a folder. One of other programs, or that cannot be read, is begun
// anew.
func openJournal(folder, identity string) (*journal, error) {
	path := filepath.Join(folder, "journal.jsonl")
	known, err := readJournal(path)
	if err != nil {
		return nil, err
	}
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	fresh := string(known[identityKey]) != fmt.Sprintf("%q", identity)
	if fresh {
		known = map[string]json.RawMessage{}
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	j := &journal{file: file, known: known}
	if fresh {
		err = j.put(identityKey, identity)
	} else {
		_, err = file.WriteString("\n") // the last line may not have been ended
	}
	return j, err
}

func readJournal(path string) (map[string]json.RawMessage, error) {
	known := map[string]json.RawMessage{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line journalLine
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // a line that a run was killed while writing
		}
		known[line.Key] = line.Value
	}
	return known, lines.Err()
}

// get reads what is known under a key.
func (j *journal) get(key string, into any) bool {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	value, ok := j.known[key]
	return ok && json.Unmarshal(value, into) == nil
}

// put writes down what was found out.
func (j *journal) put(key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	line, err := json.Marshal(journalLine{key, text})
	if err != nil {
		return err
	}
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.known[key] = text
	_, err = j.file.Write(append(line, '\n'))
	return err
}

func (j *journal) close() error { return j.file.Close() }
