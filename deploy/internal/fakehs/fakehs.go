// Package fakehs is a homeserver in name only, for the tests of the deploy packages: it answers
// what a deployment asks of a server, or misbehaves in one named way.
package fakehs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"countersign/deploy"
)

// The ways to behave. Except for the ones that say otherwise, a fake homeserver serves both ports.
const (
	Healthy  = "healthy"   // answers; says its environment at /env and its number of starts at /starts
	Exits    = "exits"     // prints two lines and ends with status 3
	NotFound = "not-found" // answers 404 to everything
	Hangs    = "hangs"     // takes connections and answers nothing
	Resets   = "resets"    // closes every connection without an answer
	Endless  = "endless"   // answers 200 with a body that never ends
	Crashes  = "crashes"   // is healthy until it is asked for /crash
	Stubborn = "stubborn"  // is healthy and ignores SIGTERM
	Parent   = "parent"    // is healthy and has a child, whose process number is at /child
	Orphan   = "orphan"    // does nothing, serves nothing and ignores SIGTERM: the child of Parent
	Chatty   = "chatty"    // is healthy and prints a megabyte for each request of /chat
)

// Run behaves until SIGTERM, and returns the exit status.
func Run(behaviour string, env deploy.ServerEnv) int {
	logger := log.New(os.Stderr, "", 0)
	logger.Printf("fake homeserver %s: %s", env.ServerName, behaviour)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if behaviour == Stubborn || behaviour == Orphan {
		ctx = context.Background()
	}
	switch behaviour {
	case Exits:
		logger.Print("the configuration file is missing")
		return 3
	case Orphan:
		<-ctx.Done()
		return 0
	}
	if err := serve(ctx, behaviour, env, logger); err != nil {
		logger.Print(err)
		return 1
	}
	logger.Print("fake homeserver ends")
	return 0
}

func serve(ctx context.Context, behaviour string, env deploy.ServerEnv, logger *log.Logger) error {
	handler, err := newHandler(behaviour, env)
	if err != nil {
		return err
	}
	cert, err := certificate(env)
	if err != nil {
		return err
	}
	client, err := net.Listen("tcp", env.ClientAddr)
	if err != nil {
		return err
	}
	federation, err := tls.Listen("tcp", env.FederationAddr, &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ErrorLog: logger, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 2)
	for _, l := range []net.Listener{client, federation} {
		go func() { failed <- server.Serve(l) }()
	}
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failed:
		return err
	}
}

// certificate is the ready one, or one that it signs itself, which proves the authority's key.
func certificate(env deploy.ServerEnv) (tls.Certificate, error) {
	if env.TLSCert != "" {
		return tls.LoadX509KeyPair(env.TLSCert, env.TLSKey)
	}
	ca, err := deploy.LoadCA(env.CACert, env.CAKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return ca.Issue(env.ServerName)
}

func newHandler(behaviour string, env deploy.ServerEnv) (http.Handler, error) {
	switch behaviour {
	case NotFound:
		return http.NotFoundHandler(), nil
	case Hangs:
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil
	case Resets:
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil
	case Endless:
		return http.HandlerFunc(endless), nil
	}
	starts, err := countStart(filepath.Join(env.DataDir, "starts"))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	say := func(path, text string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	say("/_matrix/client/versions", `{"versions":["v1.11"]}`)
	say("/env", strings.Join(os.Environ(), "\n"))
	say("/starts", starts)
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	mux.HandleFunc("/chat", func(http.ResponseWriter, *http.Request) {
		for i := range 1 << 14 {
			fmt.Fprintf(os.Stdout, "%063d\n", i)
		}
	})
	// Asks another server for /starts over federation, to show that servers reach one another.
	mux.HandleFunc("/ask/{server}", func(w http.ResponseWriter, r *http.Request) { ask(w, r, env) })
	if behaviour == Parent {
		child, err := startOrphan()
		if err != nil {
			return nil, err
		}
		say("/child", fmt.Sprint(child))
	}
	return mux, nil
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
	}
}

func countStart(file string) (string, error) {
	past, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	starts := fmt.Sprint(len(past) + 1)
	return starts, os.WriteFile(file, append(past, 'x'), 0o600)
}

func startOrphan() (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, Argument, Orphan)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return cmd.Process.Pid, nil
}

func ask(w http.ResponseWriter, r *http.Request, env deploy.ServerEnv) {
	ca, err := deploy.LoadCA(env.CACert, "")
	if err == nil {
		rt := deploy.NewTransport(deploy.TransportConfig{CA: ca, Timeout: 10 * time.Second})
		var req *http.Request
		if req, err = http.NewRequestWithContext(r.Context(), http.MethodGet, "https://"+r.PathValue("server")+"/starts", nil); err == nil {
			var resp *http.Response
			if resp, err = rt.RoundTrip(req); err == nil {
				_, err = io.Copy(w, resp.Body)
				err = errors.Join(err, resp.Body.Close())
			}
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

// Argument as first argument makes a test binary whose TestMain calls RunIfAsked a fake homeserver.
const Argument = "fake-homeserver"

// RunIfAsked turns this process into a fake homeserver when its arguments say so, and does not
// return then.
func RunIfAsked() {
	if len(os.Args) < 3 || os.Args[1] != Argument {
		return
	}
	env, err := deploy.LoadServerEnv(os.Environ())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(Run(os.Args[2], env))
}

// Command is the command line that runs this test binary as a fake homeserver.
func Command(behaviour string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return "'" + self + "' " + Argument + " " + behaviour, nil
}
