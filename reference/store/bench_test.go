package store

import "testing"

// BenchmarkOpen makes a new store, which is most of what starting a homeserver takes.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		db, err := Open(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdate is a small transaction, as every event costs at least one.
func BenchmarkUpdate(b *testing.B) {
	db, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	for b.Loop() {
		err := db.Update(func(tx *Tx) error {
			n, err := tx.Table("t").Next()
			if err != nil {
				return err
			}
			return tx.Table("t").Put(AppendInt(nil, int64(n)), []byte("value"))
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
