package blockkit

import (
	"fmt"
	"strings"
	"testing"
)

func text(n int) string { return strings.Repeat("é", n) }

func section(t string) string {
	return `{"type":"section","text":{"type":"plain_text","text":"` + t + `"}}`
}

func button(id, label, more string) string {
	return `{"type":"button","action_id":"` + id + `","text":{"type":"plain_text","text":"` + label + `"}` + more + `}`
}

func actions(elements ...string) string {
	return `{"type":"actions","elements":[` + strings.Join(elements, ",") + `]}`
}

func buttons(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = button(fmt.Sprint("b", i), "x", "")
	}
	return strings.Join(all, ",")
}

func repeat(n int, block string) string {
	return strings.TrimSuffix(strings.Repeat(block+",", n), ",")
}

func TestValidateMessage(t *testing.T) {
	option := func(v string) string {
		return `{"text":{"type":"plain_text","text":"o"},"value":"` + v + `"}`
	}
	tests := []struct {
		name   string
		blocks string // without the brackets
		want   string // in some problem; empty: no problem
	}{
		{"every block that a card uses", strings.Join([]string{
			`{"type":"header","text":{"type":"plain_text","text":"h","emoji":false}}`,
			section("s"), `{"type":"divider"}`, actions(button("a", "b", `,"value":"v","style":"primary"`)),
			`{"type":"context","elements":[{"type":"mrkdwn","text":"*x*","verbatim":true}]}`,
			`{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x","style":{"bold":true}}]},{"type":"rich_text_preformatted","elements":[{"type":"text","text":"{}"}]}]}`,
		}, ","), ""},
		{"a header at its limit", `{"type":"header","text":{"type":"plain_text","text":"` + text(150) + `"}}`, ""},
		{"a header over its limit", `{"type":"header","text":{"type":"plain_text","text":"` + text(151) + `"}}`, "maxLength: got 151, want 150 [json-pointer:/blocks/0/text/text]"},
		{"a section over its limit", section(text(3001)), "got 3,001, want 3,000"},
		{"empty text", section(""), "minLength"},
		{"a section without text", `{"type":"section"}`, "/blocks/0"},
		{"mrkdwn in a header", `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`, "/blocks/0/text"},
		{"a button label over 75", actions(button("a", text(76), "")), "/blocks/0/elements/0/text/text"},
		{"a button value over 2000", actions(button("a", "b", `,"value":"`+text(2001)+`"`)), "/blocks/0/elements/0/value"},
		{"a field that no button has", actions(button("a", "b", `,"colour":"red"`)), "colour"},
		{"a style that no button has", actions(button("a", "b", `,"style":"warning"`)), "/blocks/0/elements/0/style"},
		{"an element that does not exist", actions(`{"type":"buton","action_id":"a"}`), "of no type that is allowed"},
		{"a block that does not exist", `{"type":"sektion"}`, `"sektion", which is no block`},
		{"six options in an overflow menu", actions(`{"type":"overflow","action_id":"a","options":[` + repeat(6, option("v")) + `]}`), "options"},
		{"26 elements", actions(buttons(26)), "maxItems"},
		{"a modal's block", `{"type":"alert","text":{"type":"mrkdwn","text":"x"}}`, "not allowed in a message"},
		{"51 blocks", repeat(51, `{"type":"divider"}`), "has 51 blocks"},
		{"50 blocks", repeat(50, `{"type":"divider"}`), ""},
		{"a block_id twice", `{"type":"divider","block_id":"x"},{"type":"divider","block_id":"x"}`, "/blocks/1/block_id"},
		{"an action_id twice in a block", actions(button("a", "b", ""), button("a", "c", "")), "used twice"},
		{"an action_id in two blocks", actions(button("a", "b", "")) + "," + actions(button("a", "c", "")), ""},
		{"an initial option that is no option", actions(`{"type":"static_select","action_id":"a","options":[` + option("v") + `],"initial_option":` + option("w") + `}`), "none of the options"},
		{"too much markdown over all", `{"type":"markdown","text":"` + text(7000) + `"},{"type":"markdown","text":"` + text(7000) + `"}`, "14000 characters of markdown"},
		{"null", "null", "is no object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { expect(t, ValidateMessage([]byte("["+tt.blocks+"]")), tt.want) })
	}
}

func TestValidateView(t *testing.T) {
	input := `{"type":"input","block_id":"b","label":{"type":"plain_text","text":"l"},"element":{"type":"plain_text_input","action_id":"a"}}`
	title := `"title":{"type":"plain_text","text":"t"}`
	submit := `,"submit":{"type":"plain_text","text":"s"}`
	tests := []struct {
		name string
		view string
		want string
	}{
		{"a form", `{"type":"modal",` + title + submit + `,"blocks":[` + input + `],"private_metadata":"m","notify_on_close":true}`, ""},
		{"inputs without submit", `{"type":"modal",` + title + `,"blocks":[` + input + `]}`, "/view/submit"},
		{"a title over 24", `{"type":"modal","title":{"type":"plain_text","text":"` + text(25) + `"},"blocks":[]}`, "/view/title/text"},
		{"private_metadata over 3000", `{"type":"modal",` + title + `,"private_metadata":"` + text(3001) + `","blocks":[]}`, "/view/private_metadata"},
		{"markdown in a modal", `{"type":"modal",` + title + `,"blocks":[{"type":"markdown","text":"x"}]}`, "not allowed in a modal"},
		{"101 blocks", `{"type":"modal",` + title + `,"blocks":[` + repeat(101, `{"type":"divider"}`) + `]}`, "has 101 blocks"},
		{"a field that no modal has", `{"type":"modal",` + title + `,"blocks":[],"colour":1}`, "colour"},
		{"a home", `{"type":"home","blocks":[` + section("x") + `]}`, ""},
		{"a title in a home", `{"type":"home",` + title + `,"blocks":[]}`, "title"},
		{"an alert in a home", `{"type":"home","blocks":[{"type":"alert","text":{"type":"mrkdwn","text":"x"}}]}`, "not allowed in a Home"},
		{"no type", `{"blocks":[]}`, "/view/type"},
		{"a number input without is_decimal_allowed", `{"type":"modal",` + title + submit + `,"blocks":[{"type":"input","block_id":"b","label":{"type":"plain_text","text":"l"},"element":{"type":"number_input","action_id":"a"}}]}`, "is_decimal_allowed"},
		{"no JSON", `{`, "/view"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { expect(t, ValidateView([]byte(tt.view)), tt.want) })
	}
}

func expect(t *testing.T, got []Problem, want string) {
	t.Helper()
	var all []string
	for _, p := range got {
		all = append(all, p.String())
	}
	said := strings.Join(all, "\n")
	if (want == "") != (said == "") || !strings.Contains(said, want) {
		t.Errorf("problems:\n%s\nwant %q", said, want)
	}
}

func TestCharacters_CountsEntitiesAsSlackDoes(t *testing.T) {
	blocks := `[` + section("a&<") + `,{"type":"section","text":{"type":"mrkdwn","text":"&amp;"}},` + actions(button("x", "é", "")) + `]`
	if got, want := Characters([]byte(blocks)), len("a&amp;&lt;")+len("&amp;")+1; got != want {
		t.Errorf("Characters = %d, want %d", got, want)
	}
}

func ExampleValidateMessage() {
	fmt.Println(ValidateMessage([]byte(`[{"type":"section","text":{"type":"plain_text","text":""}}]`)))
	// Output: [minLength: got 0, want 1 [json-pointer:/blocks/0/text/text]]
}
