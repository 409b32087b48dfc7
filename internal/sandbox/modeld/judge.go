package modeld

import (
	"fmt"
	"regexp"
	"strings"
)

// Sound is the rule by which answers are judged here: text in words, and not
// mostly numbers. It knows nothing of facts.
func Sound(answer string) bool {
	words, numbers := 0, 0
	for _, f := range strings.Fields(answer) {
		if f = strings.Trim(f, ".,;:!?()"); f == "" {
			continue
		}
		if strings.Trim(f, "0123456789") == "" {
			numbers++
		} else {
			words++
		}
	}
	return words > 0 && numbers*4 < words
}

// The answer to be judged, in the tutorial's template and in one with tags.
var answerIn = []*regexp.Regexp{
	regexp.MustCompile(`(?s)\[Response\]:\s*(.*?)\s*\[END DATA\]`),
	regexp.MustCompile(`(?s)<(?:answer|output)>\s*(.*?)\s*</(?:answer|output)>`),
}

// judged finds the answer in a prompt that asks for a verdict. The last one
// counts: examples stand before it.
func judged(prompt string) (answer string, ok bool) {
	for _, re := range answerIn {
		if all := re.FindAllStringSubmatch(prompt, -1); len(all) > 0 {
			return all[len(all)-1][1], true
		}
	}
	return "", false
}

// verdict judges an answer in one of labels, the good one and the bad one.
func (s *Server) verdict(answer string, labels []string, salt string) (label, explanation string) {
	good, bad := sides(labels)
	ok := Sound(answer)
	why := "it is written in words that belong together"
	if !ok {
		why = "it is made of numbers and words that do not exist"
	}
	if s.chance("error", answer, salt) < s.o.ErrorRate {
		ok, why = !ok, "the rule of this stand-in was broken on purpose, to have an error to find"
	}
	if label = bad; ok {
		label = good
	}
	return label, fmt.Sprintf("No language model looked at this answer: by rule, %s.", why)
}

// sides are the good and the bad one of some labels: the bad one is the opposite
// of another ("incorrect"), else the last.
func sides(labels []string) (good, bad string) {
	if len(labels) == 0 {
		return "correct", "incorrect"
	}
	good, bad = labels[0], labels[len(labels)-1]
	for _, a := range labels {
		for _, b := range labels {
			for _, not := range []string{"in", "un", "not ", "not_", "non-", "dis"} {
				if strings.EqualFold(a, not+b) {
					return b, a
				}
			}
		}
	}
	return good, bad
}

var quoted = regexp.MustCompile(`"([\w -]{1,40})"`)

// rails are the labels that a prompt in words allows.
func rails(prompt string) []string {
	_, tail, found := strings.Cut(prompt, "[END DATA]")
	if !found {
		tail = prompt
	}
	var out []string
	seen := map[string]bool{}
	for _, m := range quoted.FindAllStringSubmatch(tail, -1) {
		if !seen[m[1]] && m[1] != "label" && m[1] != "explanation" {
			seen[m[1]] = true
			out = append(out, m[1])
		}
	}
	return out
}
