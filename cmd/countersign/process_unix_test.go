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

const keeping = `
func TestMain(m *testing.M) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	code := m.Run()
	if os.Getenv("COUNTERSIGN_KEEP") != "1" { os.Exit(code) }
	fmt.Println(` + "`" + `countersign: kept: {"servers":[{"server":"hs1","name":"localhost:1","client":"http://localhost:2","federation":"localhost:1"}],"attach":"/x/attach.yaml","ca":"ca.crt"}` + "`" + `)
	<-interrupted
	os.WriteFile("../../cleaned-up", nil, 0o600)
	os.Exit(code)
}

func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); t.Error("lost") }
`

// Homeservers that are kept are up while the report is there already, until the interrupt.
func TestRun_Keep(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": keeping})
	ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
	defer interrupt()
	go func() {
		defer interrupt()
		page := filepath.Join(c.root, defaultReport, "report.html") // is written last
		for ; ctx.Err() == nil; <-time.After(10 * time.Millisecond) {
			if _, err := os.Stat(page); err == nil {
				return
			}
		}
	}()
	r := c.runIn(ctx, c.root, func(context.Context, []string) error { return nil }, "run", "--keep")
	assert.Equal(t, report.ExitNonConformance, r.code, "the exit code is that of the tests")
	require.NotNil(t, r.report)
	assert.Empty(t, r.report.Errors, "the interrupt is no failure")
	assert.Contains(t, r.out, "hs1  localhost:1\n     clients   http://localhost:2\n     servers   https://localhost:1\n")
	assert.Contains(t, r.out, "countersign run --target attach:/x/attach.yaml")
	assert.FileExists(t, filepath.Join(c.root, "cleaned-up"))

	c.write("tests/other/suite_test.go", strings.Replace(c.read("tests/roomv12/suite_test.go"), "package roomv12", "package other", 1))
	r = c.run("run", "--keep")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), "choose it with --suite: other, roomv12")
}
