package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"countersign/deploy"
	"countersign/matrix"
	"countersign/reference"
	"countersign/report"
)

// Addresses of Complement's image contract.
const (
	defaultClientAddr     = ":8008"
	defaultFederationAddr = ":8448"
)

// probeTimeout bounds a health check.
const probeTimeout = 4 * time.Second

// serveOptions say how the reference homeserver runs. They come from the environment of the target
// exec:COMMAND, or of Complement's images, and flags come before both.
type serveOptions struct {
	deploy.ServerEnv
	quiet bool
}

// loadServeOptions reads the environment.
func loadServeOptions(environ []string) (o serveOptions, err error) {
	if o.ServerEnv, err = deploy.LoadServerEnv(environ); err != nil {
		return o, err
	}
	if o.ServerName == "" {
		o.ServerName = lookup(environ, "SERVER_NAME") // as Complement tells its images
	}
	if o.ClientAddr == "" {
		o.ClientAddr = defaultClientAddr
	}
	if o.FederationAddr == "" {
		o.FederationAddr = defaultFederationAddr
	}
	return o, nil
}

// lookup is a variable's value in a list of NAME=value; the last one counts.
func lookup(environ []string, name string) (value string) {
	for _, entry := range environ {
		if len(entry) > len(name) && entry[:len(name)+1] == name+"=" {
			value = entry[len(name)+1:]
		}
	}
	return value
}

func (a *app) serveCommand() *cobra.Command {
	o, envErr := loadServeOptions(a.environ)
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run the reference homeserver",
		Long: `Serve runs the reference homeserver until it is interrupted.

It serves clients as plain HTTP and other servers as HTTPS. With --ca-cert and --ca-key it signs a
certificate for its server name itself; otherwise --tls-cert and --tls-key name one. Other servers
are trusted when the authority of --ca-cert, or, without it, the system vouches for them. What is not
given as a flag comes from the environment: COUNTERSIGN_SERVER_NAME and the other variables that
docs/ENVIRONMENT.md lists for exec:COMMAND, and SERVER_NAME. With --mutant it errs on purpose, so that
you can watch the tests notice: countersign kill --list prints the names.

  countersign serve --server-name localhost:8448 --client-addr localhost:8008 \
      --federation-addr localhost:8448 --data-dir ./data --ca-cert ca.crt --ca-key ca.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if envErr != nil {
				return exitf(report.ExitUsage, "%v", envErr)
			}
			return a.serve(cmd.Context(), o)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.ServerName, "server-name", o.ServerName, "the Matrix server name, such as localhost:8448")
	flags.StringVar(&o.ClientAddr, "client-addr", o.ClientAddr, "where to serve the client-server API, host:port")
	flags.StringVar(&o.FederationAddr, "federation-addr", o.FederationAddr, "where to serve the server-server API, host:port")
	flags.StringVar(&o.DataDir, "data-dir", o.DataDir, "the folder that keeps the server's data")
	flags.StringVar(&o.CACert, "ca-cert", o.CACert, "PEM file: the certificate of the authority to trust")
	flags.StringVar(&o.CAKey, "ca-key", o.CAKey, "PEM file: the authority's private key, to sign a certificate of our own")
	flags.StringVar(&o.TLSCert, "tls-cert", o.TLSCert, "PEM file: the certificate to serve, instead of --ca-key")
	flags.StringVar(&o.TLSKey, "tls-key", o.TLSKey, "PEM file: the private key of --tls-cert")
	flags.StringVar(&o.RegistrationSharedSecret, "registration-shared-secret", o.RegistrationSharedSecret,
		"the secret of /_synapse/admin/v1/register; without it that endpoint is closed")
	flags.StringVar(&o.AppServiceDir, "appservice-dir", o.AppServiceDir, "a folder with the registrations (*.yaml) of application services")
	flags.StringVar(&o.Mutant, "mutant", o.Mutant, "the name of a deliberate defect, a permitted variant or a dead server to be")
	flags.BoolVar(&o.quiet, "quiet", false, "print nothing but warnings and errors")
	return command
}

// serve runs the homeserver until ctx ends.
func (a *app) serve(ctx context.Context, o serveOptions) error {
	config, err := o.config(a.err)
	if err != nil {
		return err
	}
	server, err := reference.Open(config)
	if err != nil {
		_ = config.ClientListener.Close()
		_ = config.FederationListener.Close()
		return exitf(report.ExitHarness, "%v", err)
	}
	if o.Mutant != "" {
		config.Logger.Warn("this homeserver errs on purpose", "mutant", o.Mutant)
	}
	config.Logger.Info("serving", "server_name", o.ServerName,
		"clients", config.ClientListener.Addr().String(), "servers", config.FederationListener.Addr().String())
	if err := server.Serve(ctx); err != nil {
		return exitf(report.ExitHarness, "%v", err)
	}
	return nil
}

// config opens the listeners and reads the certificates.
func (o serveOptions) config(log io.Writer) (c reference.Config, err error) {
	if _, err := matrix.ParseServerName(o.ServerName); err != nil {
		return c, exitf(report.ExitUsage, "%v; give --server-name, or set COUNTERSIGN_SERVER_NAME", err)
	}
	if o.DataDir == "" {
		return c, exitf(report.ExitUsage, "there is no folder for data; give --data-dir, or set COUNTERSIGN_DATA_DIR")
	}
	if o.Mutant != "" && !reference.IsDefect(o.Mutant) {
		return c, exitf(report.ExitUsage, "there is no mutant, variant or dead server %q; countersign kill --list prints them all, see --mutant and COUNTERSIGN_MUTANT", o.Mutant)
	}
	level := slog.LevelInfo
	if o.quiet {
		level = slog.LevelWarn
	}
	c = reference.Config{
		ServerName: o.ServerName, DataDir: o.DataDir, RegistrationSharedSecret: o.RegistrationSharedSecret,
		AppServiceDir: o.AppServiceDir, Defect: o.Mutant,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level})),
	}
	if c.Certificate, c.RootCAs, err = o.certificates(); err != nil {
		return c, err
	}
	if c.ClientListener, err = net.Listen("tcp", o.ClientAddr); err != nil {
		return c, exitf(report.ExitHarness, "clients cannot be served: %v; choose another --client-addr", err)
	}
	if c.FederationListener, err = net.Listen("tcp", o.FederationAddr); err != nil {
		_ = c.ClientListener.Close()
		return c, exitf(report.ExitHarness, "servers cannot be served: %v; choose another --federation-addr", err)
	}
	return c, nil
}

// certificates are what the server presents, and who vouches for other servers; nil for the system.
func (o serveOptions) certificates() (own tls.Certificate, roots *x509.CertPool, err error) {
	var ca *deploy.CA
	if o.CACert != "" {
		// A key that is there but not to be used for our own certificate need not be readable.
		keyFile := o.CAKey
		if o.TLSCert != "" {
			keyFile = ""
		}
		if ca, err = deploy.LoadCA(o.CACert, keyFile); err != nil {
			return own, nil, exitf(report.ExitUsage, "%v; see --ca-cert and --ca-key", err)
		}
		roots = ca.Pool()
	}
	switch {
	case o.TLSCert != "":
		own, err = tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	case ca != nil && o.CAKey != "":
		own, err = ca.Issue(o.ServerName)
	default:
		return own, nil, exitf(report.ExitUsage, "there is no certificate; give --ca-cert and --ca-key, or --tls-cert and --tls-key")
	}
	if err != nil {
		return own, nil, exitf(report.ExitUsage, "the server's certificate: %v", err)
	}
	return own, roots, nil
}

func (a *app) healthcheckCommand() *cobra.Command {
	o, envErr := loadServeOptions(a.environ)
	command := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask whether the reference homeserver answers",
		Long: `Healthcheck asks GET /_matrix/client/versions of the homeserver at --client-addr, as the HEALTHCHECK of
its image does. It exits with 0 when that is answered, and with 1 when it is not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if envErr != nil {
				return exitf(report.ExitUsage, "%v", envErr)
			}
			return healthcheck(cmd.Context(), o.ClientAddr)
		},
	}
	command.Flags().StringVar(&o.ClientAddr, "client-addr", o.ClientAddr, "where the client-server API is served, host:port")
	return command
}

func healthcheck(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return exitf(report.ExitUsage, "--client-addr: %v", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	url := fmt.Sprintf("http://%s/_matrix/client/versions", net.JoinHostPort(host, port))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return exitf(report.ExitUsage, "--client-addr: %v", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return exitf(1, "the homeserver does not answer: %v", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return exitf(1, "the homeserver answers %s", response.Status)
	}
	return nil
}
