package vectors

//go:generate go run ./internal/generate .
