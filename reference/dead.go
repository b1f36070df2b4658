package reference

import (
	"net/http"
	"time"

	"countersign/reference/defect"
)

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

var deadServers = [...]DeadServer{
	{"AnswersNotFound", "answers every request with 404", false},
	{"AnswersWithNothing", "answers every request with 200 and an empty object", false},
	{"AcceptsEveryEvent", "accepts every event of another server, whatever is wrong with it", false},
	{"RejectsEveryEvent", "drops every event of another server", false},
	{"Hangs", "takes every request and never answers", false},
	{"CrashesOnAForgery", "stops for good at the first event that it would refuse", false},
	{"IsSlow", "does everything right, two seconds late", true},
}

// slowness is for how long a slow server lets every request wait.
const slowness = 2 * time.Second

// deadened is a handler that does what a dead server does.
func deadened(h http.Handler, defects defect.Set) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case defects.Has("AnswersNotFound"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"errcode":"M_UNRECOGNIZED","error":"not found"}`)) // nobody is left to be told
			return
		case defects.Has("AnswersWithNothing"):
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{}")) // as above
			return
		case defects.Has("Hangs"):
			<-r.Context().Done()
			return
		case defects.Has("IsSlow"):
			timer := time.NewTimer(slowness)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}
