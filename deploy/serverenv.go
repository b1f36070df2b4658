package deploy

import "reflect"

// ServerEnv is what a homeserver that runs as a child process (the target exec:COMMAND) is told,
// in environment variables. Each field is the variable in its tag.
type ServerEnv struct {
	// ServerName is the Matrix server name.
	ServerName string `env:"COUNTERSIGN_SERVER_NAME" help:"The server name that the homeserver must use, such as 'localhost:21345'. Its port is that of the federation address."`
	// ClientAddr is where to listen for clients.
	ClientAddr string `env:"COUNTERSIGN_CLIENT_ADDR" help:"The host:port at which the homeserver must serve the client-server API, as plain HTTP."`
	// FederationAddr is where to listen for servers.
	FederationAddr string `env:"COUNTERSIGN_FEDERATION_ADDR" help:"The host:port at which the homeserver must serve the server-server API, as HTTPS."`
	// CACert is the authority's certificate.
	CACert string `env:"COUNTERSIGN_CA_CERT" help:"A PEM file: the certificate of the authority that the homeserver must trust when it speaks to other servers. SSL_CERT_FILE is set to the same file, for the TLS libraries that read it."`
	// CAKey is the authority's private key.
	CAKey string `env:"COUNTERSIGN_CA_KEY" help:"A PEM file: the authority's private key, for homeservers that sign a certificate of their own."`
	// TLSCert is a certificate for the server name.
	TLSCert string `env:"COUNTERSIGN_TLS_CERT" help:"A PEM file: a certificate for the server name, ready to use, for homeservers that do not sign their own."`
	// TLSKey is the private key of TLSCert.
	TLSKey string `env:"COUNTERSIGN_TLS_KEY" help:"A PEM file: the private key of COUNTERSIGN_TLS_CERT."`
	// DataDir is a folder for the homeserver's data.
	DataDir string `env:"COUNTERSIGN_DATA_DIR" help:"An empty folder for the homeserver's data. It is kept when the homeserver is restarted and removed when the run ends."`
	// RegistrationSharedSecret is the secret of /_synapse/admin/v1/register.
	RegistrationSharedSecret string `env:"COUNTERSIGN_REGISTRATION_SHARED_SECRET" help:"The secret of POST /_synapse/admin/v1/register, for homeservers that have this endpoint. Always 'complement', as in Complement's image contract."`
	// AppServiceDir is a folder with registrations of application services.
	AppServiceDir string `env:"COUNTERSIGN_APPSERVICE_DIR" help:"A folder with the registrations of application services, each in a file whose name ends in '.yaml', as images find them in '/complement/appservice'. It may be empty."`
	// Mutant is what the reference homeserver is to do wrong, or empty.
	Mutant string `env:"COUNTERSIGN_MUTANT" help:"What a run was told by the variable of this name, for 'countersign serve', which errs in this way. Containers are given it, too. It is not there when a run was told nothing, and is no concern of other homeservers."`
}

// Environ is the variables as NAME=value. Empty fields are left out.
func (e ServerEnv) Environ() []string {
	var environ []string
	for field, value := range reflect.ValueOf(e).Fields() {
		if value.String() != "" {
			environ = append(environ, field.Tag.Get("env")+"="+value.String())
		}
	}
	return environ
}

// LoadServerEnv is the other side of Environ, for a homeserver in Go: what is not set stays empty.
func LoadServerEnv(environ []string) (ServerEnv, error) {
	var e ServerEnv
	err := readTagged(&e, environMap(environ))
	return e, err
}
