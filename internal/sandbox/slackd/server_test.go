package slackd_test

import (
	"net"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/spanbot/spanbot/internal/sandbox/slackd"
)

// serve starts a workspace on a free port.
func serve(t *testing.T, o slackd.Options) *slackd.Server {
	t.Helper()
	s := slackd.New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.At("http://" + l.Addr().String())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	apis[s] = "http://" + l.Addr().String() + "/api/"
	return s
}

var apis = map[*slackd.Server]string{}

// api is an app's client.
func api(s *slackd.Server) *slack.Client {
	return slack.New(s.BotToken(), slack.OptionAPIURL(apis[s]), slack.OptionAppLevelToken(s.AppToken()))
}

func TestSocketMode_AClickArrivesAndIsAcked(t *testing.T) {
	s := serve(t, slackd.Options{})
	client := api(s)
	who, err := client.AuthTest()
	if err != nil || who.TeamID != s.Team() || who.UserID != s.BotUser() {
		t.Fatalf("auth.test: %+v, %v", who, err)
	}
	socket := socketmode.New(client)
	go func() { _ = socket.RunContext(t.Context()) }()
	got := make(chan slack.InteractionCallback, 1)
	hello := make(chan bool, 1)
	go func() {
		for e := range socket.Events {
			switch e.Type {
			case socketmode.EventTypeHello:
				hello <- true
			case socketmode.EventTypeInteractive:
				_ = socket.Ack(*e.Request, nil)
				got <- e.Data.(slack.InteractionCallback)
			}
		}
	}()
	<-hello
	button := slack.NewButtonBlockElement("up", "v1", slack.NewTextBlockObject("plain_text", "👍", true, false))
	channel, ts, err := client.PostMessage("#llm-reviews", slack.MsgOptionText("hello", false), slack.MsgOptionBlocks(slack.NewActionBlock("a", button)))
	if err != nil {
		t.Fatal(err)
	}
	ana := s.Reviewers()[0]
	if err := s.Click(ana.ID, channel, ts, slackd.Action{BlockID: "a", ActionID: "up"}); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-got:
		if p.User.ID != ana.ID || p.Channel.ID != channel || p.Message.Timestamp != ts || p.ActionCallback.BlockActions[0].Value != "v1" {
			t.Errorf("payload %+v", p)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no click")
	}
}
