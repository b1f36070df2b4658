package webpage

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// browser is a headless Chromium that is spoken to over a pipe, in the DevTools protocol: one JSON
// object per message, with a zero byte behind each.
type browser struct {
	t       *testing.T
	in      *os.File
	session string
	limit   time.Duration

	mutex   sync.Mutex
	last    int
	answers map[int]chan json.RawMessage
	// console is what the page complained about.
	console []string
	loaded  chan struct{}
}

// openBrowser starts a Chromium, or skips the test where none is installed.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no browser is started")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" {
		t.Skip("no Chromium is installed; on Debian: apt-get install chromium")
	}
	theirIn, in, err := os.Pipe()
	require.NoError(t, err)
	out, theirOut, err := os.Pipe()
	require.NoError(t, err)
	command := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	command.ExtraFiles = []*os.File{theirIn, theirOut}
	require.NoError(t, command.Start())
	require.NoError(t, theirIn.Close())
	require.NoError(t, theirOut.Close())
	b := &browser{t: t, in: in, limit: time.Minute, answers: map[int]chan json.RawMessage{}, loaded: make(chan struct{}, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen(out)
	}()
	t.Cleanup(func() {
		b.send("", "Browser.close", nil)
		gone := time.AfterFunc(10*time.Second, func() { _ = command.Process.Kill() })
		_ = command.Wait() // however it ends, it is gone
		gone.Stop()
		in.Close()
		out.Close()
		<-done
	})
	var target struct{ TargetID string }
	require.NoError(t, json.Unmarshal(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}), &target))
	var attached struct{ SessionID string }
	require.NoError(t, json.Unmarshal(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &attached))
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.do(domain+".enable", nil)
	}
	return b
}

func (b *browser) listen(out *os.File) {
	reader := bufio.NewReaderSize(out, 1<<20)
	for {
		text, err := reader.ReadBytes(0)
		if err != nil {
			return
		}
		var message struct {
			ID     int
			Method string
			Result json.RawMessage
			Error  json.RawMessage
			Params json.RawMessage
		}
		if json.Unmarshal(text[:len(text)-1], &message) != nil {
			continue
		}
		b.mutex.Lock()
		switch {
		case message.ID != 0:
			if waiting := b.answers[message.ID]; waiting != nil {
				if message.Error != nil {
					message.Result = json.RawMessage(fmt.Sprintf(`{"refused":%s}`, message.Error))
				}
				waiting <- message.Result
			}
		case message.Method == "Runtime.exceptionThrown", message.Method == "Log.entryAdded", message.Method == "Runtime.consoleAPICalled":
			b.console = append(b.console, string(message.Params))
		case message.Method == "Network.requestWillBeSent":
			var request struct{ Request struct{ URL string } }
			if json.Unmarshal(message.Params, &request) == nil && !strings.HasPrefix(request.Request.URL, "file:") {
				b.console = append(b.console, "a request to "+request.Request.URL)
			}
		case message.Method == "Page.loadEventFired":
			b.loaded <- struct{}{}
		}
		b.mutex.Unlock()
	}
}

// send sends a command and returns where its answer will be.
func (b *browser) send(session, method string, params any) chan json.RawMessage {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.last++
	answer := make(chan json.RawMessage, 1)
	b.answers[b.last] = answer
	message := map[string]any{"id": b.last, "method": method}
	if session != "" {
		message["sessionId"] = session
	}
	if params != nil {
		message["params"] = params
	}
	text, err := json.Marshal(message)
	if err == nil {
		_, err = b.in.Write(append(text, 0))
	}
	if err != nil {
		b.t.Errorf("cannot speak to the browser: %v", err)
	}
	return answer
}

func (b *browser) call(session, method string, params any) json.RawMessage {
	b.t.Helper()
	select {
	case answer := <-b.send(session, method, params):
		require.NotContains(b.t, string(answer), `{"refused":`, method)
		return answer
	case <-time.After(b.limit):
		require.Fail(b.t, "the browser did not answer "+method)
		return nil
	}
}

func (b *browser) do(method string, params any) json.RawMessage {
	b.t.Helper()
	return b.call(b.session, method, params)
}

// open loads an address and waits until it has loaded. It returns how long that took.
func (b *browser) open(address string) time.Duration {
	b.t.Helper()
	began := time.Now()
	b.do("Page.navigate", map[string]any{"url": address})
	select {
	case <-b.loaded:
	case <-time.After(b.limit):
		require.Fail(b.t, "the page did not load")
	}
	return time.Since(began)
}

// eval evaluates an expression in the page and stores its value.
func (b *browser) eval(expression string, into any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	require.NoError(b.t, json.Unmarshal(b.do("Runtime.evaluate", map[string]any{
		"expression": expression, "returnByValue": true, "awaitPromise": true,
	}), &answer))
	require.Empty(b.t, string(answer.ExceptionDetails), expression)
	require.NoError(b.t, json.Unmarshal(answer.Result.Value, into), expression)
}

// window sets the size of the window, the colour scheme, and the medium: "screen" or "print".
func (b *browser) window(width, height int, scheme, medium string) {
	b.t.Helper()
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
	b.do("Emulation.setEmulatedMedia", map[string]any{"media": medium, "features": []any{map[string]string{"name": "prefers-color-scheme", "value": scheme}}})
}

// press presses a key.
func (b *browser) press(key string, code int, text string) {
	b.t.Helper()
	down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code}
	if text != "" {
		down["text"] = text
	}
	b.do("Input.dispatchKeyEvent", down)
	b.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code})
}

// screenshot stores a picture of the window, or of the whole page.
func (b *browser) screenshot(path string, whole bool) {
	b.t.Helper()
	var picture struct{ Data string }
	require.NoError(b.t, json.Unmarshal(b.do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": whole}), &picture))
	b.store(path, picture.Data)
}

// print stores the page as it is printed.
func (b *browser) print(path string) {
	b.t.Helper()
	var paper struct{ Data string }
	require.NoError(b.t, json.Unmarshal(b.do("Page.printToPDF", map[string]any{"printBackground": true}), &paper))
	b.store(path, paper.Data)
}

func (b *browser) store(path, data string) {
	b.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(data)
	require.NoError(b.t, err)
	require.Greater(b.t, len(raw), 1000)
	require.NoError(b.t, os.WriteFile(path, raw, 0o644))
}

// complaints are what the page complained about until now.
func (b *browser) complaints() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]string{}, b.console...)
}
