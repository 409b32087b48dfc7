package main

import "testing"

func TestGone_LocalWorkspacesAndStandInsNeverComeBack(t *testing.T) {
	tests := []struct {
		instance      string
		gone, phoenix bool
	}{
		{"T0REAL@phoenix.example.com:6006", false, false},
		{"TLOCAL4F2A@phoenix.example.com:6006", true, false},
		{"TLOCAL4F2A@stand-in-9c", true, true},
		{"T0REAL@stand-in-9c", true, true},
		{"", false, false},
	}
	for _, tt := range tests {
		if g, p := gone(tt.instance); g != tt.gone || p != tt.phoenix {
			t.Errorf("gone(%q) = %v, %v; want %v, %v", tt.instance, g, p, tt.gone, tt.phoenix)
		}
	}
}
