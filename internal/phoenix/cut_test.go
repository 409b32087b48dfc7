package phoenix

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// cutTo runs a document through a cutter of so few characters as only a test wants.
func cutTo(t interface{ Fatalf(string, ...any) }, r io.Reader, limit int) string {
	c := newCutter(r, limit)
	c.limit = limit
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("cutter: %v", err)
	}
	return string(b)
}

func TestCutter_KeepsTheStartAndCountsTheRest(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"short text", `{"a":"abcd"}`, `{"a":"abcd"}`},
		{"one character more", `{"a":"abcde"}`, `{"a":"abcd\u00001"}`},
		{"raw UTF-8 is never torn", `{"a":"äöü€😀"}`, `{"a":"äöü€\u00001"}`},
		{"the last one kept has four bytes", `{"a":"abc😀xy"}`, `{"a":"abc😀\u00002"}`},
		{"an escape is one character", `["\n\"\\\u00e4x"]`, `["\n\"\\\u00e4\u00001"]`},
		{"an escaped pair is one character", `["abc\ud83d\ude00\ud83d\ude00"]`, `["abc\ud83d\ude00\u00001"]`},
		{"escaped quote behind the end", `["abcd\"\\",1]`, `["abcd\u00002",1]`},
		{"U+0000 is dropped and not counted", `["a\u0000b\u0000c\u0000d"]`, `["abcd"]`},
		{"a forged mark is none", `["ab\u000099"]`, `["ab99"]`},
		{"lone high surrogate", `["a\ud83db"]`, `["ab"]`},
		{"lone high surrogate at the end", `["a\ud83d"]`, `["a"]`},
		{"lone low surrogate", `["a\ude00b"]`, `["ab"]`},
		{"two high, one low", `["\ud83d\ud83d\ude00"]`, `["\ud83d\ude00"]`},
		{"high, then another escape", `["\ud83d\n"]`, `["\n"]`},
		{"keys are never shortened", `{"abcdefgh":"x","k":{"abcdefgh":"abcdefgh"}}`, `{"abcdefgh":"x","k":{"abcdefgh":"abcd\u00004"}}`},
		{"U+0000 in a key", `{"a\u0000":1}`, `{"a":1}`},
		{"values after values", `{"a":["abcde",true,{"b":"abcde"}],"c":1.50}`, `{"a":["abcd\u00001",true,{"b":"abcd\u00001"}],"c":1.50}`},
		{"blanks stay", "{ \"a\" :\n\"b\" , \"c\":[ 1 , 2 ] }", "{ \"a\" :\n\"b\" , \"c\":[ 1 , 2 ] }"},
		{"what is no JSON is the decoder's to refuse", `{"a":"\u12","b":}`, `{"a":"\u12","b":}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tt.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			} {
				if got := cutTo(t, r, 4); got != tt.want {
					t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
				}
			}
		})
	}
}

func TestCutter_KeepsTheStartOfLongListsOfNumbers(t *testing.T) {
	numbers := func(n int) string {
		return strings.TrimSuffix(strings.Repeat("0.5, ", n), ", ")
	}
	page := `{"data":[{"v":[` + numbers(100_000) + `],"w":1},{"v":["` + strings.Repeat(`a","`, 1000) + `"]}],"next_cursor":null}`
	var got struct {
		Data []struct {
			V []any
			W int
		}
	}
	if err := json.NewDecoder(newCutter(strings.NewReader(page), 100)).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 2 || len(got.Data[0].V) != arrayLength || got.Data[0].W != 1 || len(got.Data[1].V) != arrayLength {
		t.Errorf("%d items, %d numbers, then %d; %d texts", len(got.Data), len(got.Data[0].V), got.Data[0].W, len(got.Data[1].V))
	}
	objects := `{"data":[{"v":[` + strings.TrimSuffix(strings.Repeat(`{"a":[1]}, `, 1000), ", ") + `]}]}`
	if out := cutTo(t, strings.NewReader(objects), 100); out != objects {
		t.Error("a list of objects did not pass whole")
	}
	many := `{"data":[` + strings.TrimSuffix(strings.Repeat(`1,`, 1000), ",") + `]}`
	if out := cutTo(t, strings.NewReader(many), 100); out != many {
		t.Error("the page itself did not pass whole")
	}
}

// document draws JSON values whose texts hold everything but U+0000.
func document(t *rapid.T, depth int) any {
	text := rapid.Map(rapid.String(), func(s string) string { return strings.ReplaceAll(s, "\x00", "") })
	if depth == 0 {
		return text.Draw(t, "text")
	}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		m := map[string]any{}
		for _, k := range rapid.SliceOfN(text, 0, 4).Draw(t, "keys") {
			m[k] = document(t, depth-1)
		}
		return m
	case 1:
		var l []any
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			l = append(l, document(t, depth-1))
		}
		return l
	case 2:
		return rapid.Float64().Draw(t, "number")
	case 3:
		return rapid.Bool().Draw(t, "bool")
	}
	return text.Draw(t, "text")
}

func TestCutter_ShortDocumentsPassByteForByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.MarshalIndent(document(t, 4), "", rapid.SampledFrom([]string{"", " "}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		out := cutTo(t, iotest.HalfReader(strings.NewReader(string(b))), 100_000)
		if out != string(b) {
			t.Fatalf("not the same:\n%s\n%s", b, out)
		}
	})
}

func TestCutter_AnyTextIsItsStartAndTheNumberOfTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.ToValidUTF8(rapid.String().Draw(t, "text"), "")
		limit := rapid.IntRange(1, 30).Draw(t, "limit")
		var in string
		if rapid.Bool().Draw(t, "ascii") { // as Python writes it
			var b strings.Builder
			for _, r := range s {
				switch {
				case r > 0xFFFF:
					r -= 0x10000
					fmt.Fprintf(&b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
				case r < ' ' || r > '~' || r == '"' || r == '\\':
					fmt.Fprintf(&b, `\u%04x`, r)
				default:
					b.WriteRune(r)
				}
			}
			in = `["` + b.String() + `"]`
		} else {
			b, _ := json.Marshal([]string{s})
			in = string(b)
		}
		var got []string
		if err := json.Unmarshal([]byte(cutTo(t, iotest.OneByteReader(strings.NewReader(in)), limit)), &got); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		s = strings.ReplaceAll(s, "\x00", "")
		head, more := cutRunes(s, limit)
		gotHead, gotMore := uncut(got[0])
		if gotHead != head || gotMore != more {
			t.Fatalf("%q to %d: %q + %d, want %q + %d", s, limit, gotHead, gotMore, head, more)
		}
	})
}

func FuzzCutter(f *testing.F) {
	for _, s := range []string{`{"a":"\ud83d\ude00"}`, `["\u0000"]`, `{"a":[1,2,{"b":null}]}`, "[\"\xff\"]", `["\u00`, `{"a":"b"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := cutTo(t, iotest.DataErrReader(strings.NewReader(string(in))), 1<<20)
		var a, b any
		ea, eb := json.Unmarshal(in, &a), json.Unmarshal([]byte(out), &b)
		if ea != nil {
			return // then only: no panic
		}
		if eb != nil {
			t.Fatalf("%q was JSON, %q is not: %v", in, out, eb)
		}
		if text := strings.ToLower(string(in)); !strings.Contains(text, `\u0000`) && !strings.Contains(text, `\ud`) {
			if diff := cmp.Diff(a, b); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestPlain_KeepsWhatAScreenShows(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"words", "a b\n\tc", "a b\n\tc"},
		{"control characters", "a\x07b\x1b[31mc\u0085d\x7f", "ab[31mcd"},
		{"direction overrides", "a\u202eb\u2066c\u2069", "abc"},
		{"line breaks of other systems", "a\r\nb\rc", "a\nb\nc"},
		{"broken UTF-8", "a\xffb", "a\uFFFDb"},
		{"right-to-left letters stay", "שלום", "שלום"},
		{"the mark of the cutter", "abc\x0012", "abc"},
	}
	for _, tt := range tests {
		if got := plain(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		got := cleanText(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")), limit)
		if !utf8.ValidString(got.Head) || utf8.RuneCountInString(got.Head) > limit || strings.ContainsFunc(got.Head, hidden) {
			t.Fatalf("%q", got.Head)
		}
	})
}
