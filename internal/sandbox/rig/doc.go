// Package rig starts the real servers that tests and benchmarks run against:
// Phoenix, Redis (or Valkey) and local-slack, a Slack emulator by others.
//
//	px := rig.SharedPhoenix(t)            // one per test process, 13 s; use your own project name on it
//	px := rig.Phoenix(t, rig.WithAuth())  // one of your own: Stop, Start
//	rd := rig.Redis(t)                    // rd.URL, rd.Socket, Stop, Start, Kill
//	sl := rig.LocalSlack(t, rig.SlackConfig{})
//	sl.Click("C01GEN", ts, rig.Alice, action) // action, _ := msg.Button("thumb_up")
//
// Every server is a child process on free loopback ports, is ready when the
// call returns, dies with the test process, and shows its log when the test
// fails. What is not installed (make deps) skips the test with the reason; with
// SPANBOT_TEST_REQUIRE or CI set it fails (Need). Environment:
//
//	SPANBOT_TEST_PHOENIX   version of Phoenix to start (default 20.26.1)
//	SPANBOT_TEST_REQUIRE   anything: a missing part fails
//
// The rig speaks to the servers with net/http alone and imports nothing of
// Spanbot's, so that a wrong JSON tag in a client cannot agree with itself.
// Breaking the wire to a server is the job of internal/sandbox/proxy.
package rig
