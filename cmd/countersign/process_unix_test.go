//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
)

const stubborn = `
func TestMain(m *testing.M) {
	signal.Ignore(os.Interrupt)
	os.Exit(m.Run())
}

func TestA(t *testing.T) {
	conform.Covers(t, "RV12-MSG-01")
	os.WriteFile("../../running.part", []byte(fmt.Sprint(os.Getpid())), 0o600)
	os.Rename("../../running.part", "../../running")
	time.Sleep(time.Hour)
}
`

// Tests that do not end when they are interrupted are killed, with everything that they started.
func TestRun_StubbornTestsAreKilled(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": stubborn})
	ctx, interrupt := context.WithCancel(t.Context())
	pid := make(chan int, 1)
	go func() {
		defer interrupt()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
			text, err := os.ReadFile(filepath.Join(c.root, "running"))
			if err == nil {
				n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
				pid <- n
				return
			}
		}
	}()
	began := time.Now()
	r := c.runIn(ctx, c.root, func(context.Context, []string) error { return nil }, "run", "--timeout-scale", "0.02")
	assert.Less(t, time.Since(began), time.Minute)
	assert.Equal(t, report.ExitHarness, r.code)
	require.NotNil(t, r.report)
	killed := <-pid
	require.Eventually(t, func() bool {
		return errors.Is(syscall.Kill(killed, 0), syscall.ESRCH)
	}, 10*time.Second, 10*time.Millisecond)
}
