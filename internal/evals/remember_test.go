package evals

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever style a judge's file has, what is remembered is read back, and the
// judge stays the same.
func TestRemember_AnyStyle(t *testing.T) {
	j := testJudge()
	var b bytes.Buffer
	if err := j.Write(&b); err != nil {
		t.Fatal(err)
	}
	plain := b.String()
	m := &Measured{Version: j.Version(), Standing: Directional, N: 12, TP: 5, Pos: 6, TN: 6, Neg: 6}
	for name, tt := range map[string]struct{ raw, keeps string }{
		"never measured":         {plain, plain},
		"without a last newline": {strings.TrimSuffix(plain, "\n"), plain},
		"another system's ends":  {strings.ReplaceAll(plain, "\n", "\r\n"), "\r\n"},
		"braces over lines":      {"measured: {version: x,\n  standing: DIRECTIONAL, n: 1, true_positives: 1,\n  positives: 1, true_negatives: 1, negatives: 1\n}\n# mine\n" + plain, "# mine\n"},
		"null, with a comment":   {plain + "measured: null # not yet\n# mine\n", "# mine\n"},
		"all in braces":          {"# mine\n{judge: x, criterion: c, model: standin, rubric: r, labels: [{label: a}, {label: b}], positive: a, template: '{question} {answer}'}\n", "# mine\n"},
	} {
		out, err := Remember([]byte(tt.raw), m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		was, err := ReadJudge(strings.NewReader(tt.raw), name)
		if err != nil {
			t.Fatal(err)
		}
		is, err := ReadJudge(bytes.NewReader(out), name)
		if err != nil || is.Version() != was.Version() || is.Measured == nil || *is.Measured != *m || !strings.Contains(string(out), tt.keeps) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if _, err := Remember([]byte("- a list\n"), m); err == nil {
		t.Error("a list is taken for a judge")
	}
}
