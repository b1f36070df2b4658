package reference

// A DeadServer is a homeserver that is wrong as a whole. No test may take it for a conforming one.
type DeadServer struct {
	// Name says what the server does.
	Name string
	// Does is one sentence.
	Does string
	// Lives says that the server conforms all the same, and must pass.
	Lives bool
}

// DeadServers are all dead servers.
func DeadServers() []DeadServer { return deadServers[:] }

var deadServers = [...]DeadServer{}
