package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Note says where the stand-ins of a running bot are. It holds the tokens of its
// local workspace, so the file is for its owner alone.
type Note struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	URL     string `json:"url"` // where /healthz is

	Slack   *SlackNote   `json:"slack,omitempty"`
	Phoenix *PhoenixNote `json:"phoenix,omitempty"`
	Queue   *QueueNote   `json:"queue,omitempty"`
}

// SlackNote is how the local workspace is reached.
type SlackNote struct {
	API      string `json:"api"`
	BotToken string `json:"bot_token"`
	AppToken string `json:"app_token"`
}

// PhoenixNote is how the stand-in Phoenix is reached.
type PhoenixNote struct {
	Endpoint string `json:"endpoint"`
	Name     string `json:"name"` // see PhoenixName
}

// QueueNote is how the embedded queue is reached.
type QueueNote struct {
	URL  string `json:"url"`
	What string `json:"what"`
	Kept bool   `json:"kept"`
}

// noteFile is the note's name in the data folder.
const noteFile = "running.json"

// Note describes what runs here.
func (s *Sandbox) Note() Note {
	n := Note{PID: os.Getpid(), URL: s.base}
	if s.Slack != nil {
		n.Slack = &SlackNote{API: s.SlackAPI(), BotToken: s.Slack.BotToken(), AppToken: s.Slack.AppToken()}
	}
	if s.Phoenix != nil {
		n.Phoenix = &PhoenixNote{Endpoint: s.PhoenixEndpoint(), Name: s.PhoenixName()}
	}
	if s.Queue != nil {
		n.Queue = &QueueNote{URL: s.Queue.URL(), What: s.Queue.What(), Kept: s.Queue.Kept()}
	}
	return n
}

// Publish writes a note into the data folder, which is made when it is not
// there; Close takes it away. Of two bots with one folder the later is found.
func (s *Sandbox) Publish(folder string, n Note) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// CreateTemp makes files for the owner alone; whoever reads sees the old note
	// or the new one.
	f, err := os.CreateTemp(folder, noteFile+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Close())
	path := filepath.Join(folder, noteFile)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.note = path
	return nil
}

// withdraw removes our note, unless another bot has written its own since.
func (s *Sandbox) withdraw() {
	if n, err := read(s.note); err == nil && n.PID == os.Getpid() {
		_ = os.Remove(s.note) // a note that stays is found out by whoever reads it
	}
}

func read(path string) (Note, error) {
	var n Note
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	return n, err
}

// Find returns the note of the bot that runs on a data folder, and false when
// none does. A note that was left behind by a killed bot does not count: its
// address does not answer, or no longer as a bot.
func Find(folder string) (Note, bool, error) {
	n, err := read(filepath.Join(folder, noteFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Note{}, false, nil
	case err != nil:
		return Note{}, false, fmt.Errorf("the note of a running bot cannot be read: %w; remove it, or start the bot again", err)
	}
	c := http.Client{Timeout: time.Second, Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	r, err := c.Get(n.URL + "/healthz")
	if err != nil {
		return Note{}, false, nil
	}
	r.Body.Close()
	return n, r.StatusCode == http.StatusOK && alive(n.PID), nil
}
