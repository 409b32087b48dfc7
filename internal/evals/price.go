package evals

import (
	"fmt"
	"strings"
)

// Usage is what calls of a model took.
type Usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
}

func (u *Usage) add(o Usage) { u.Prompt, u.Completion = u.Prompt+o.Prompt, u.Completion+o.Completion }

// Price is what a model costs, in US dollars per million tokens.
type Price struct {
	Prompt     float64 `json:"prompt"`
	Completion float64 `json:"completion"`
}

// prices are list prices of some models in US dollars per million tokens, as
// their makers published them in the autumn of 2025. They change: a price given
// by the person who runs it counts before them, and the name must match exactly
// or up to a date ("gpt-4o-2024-08-06").
var prices = map[string]Price{
	"gpt-4o":       {2.50, 10},
	"gpt-4o-mini":  {0.15, 0.60},
	"gpt-4.1":      {2, 8},
	"gpt-4.1-mini": {0.40, 1.60},
	"gpt-4.1-nano": {0.10, 0.40},
	"gpt-5":        {1.25, 10},
	"gpt-5-mini":   {0.25, 2},
	"gpt-5-nano":   {0.05, 0.40},
	"o3":           {2, 8},
	"o4-mini":      {1.10, 4.40},
}

// PriceOf looks a model's price up; false for a model whose price is not known,
// whose cost is unknown then, and not 0.
func PriceOf(model string, own map[string]Price) (Price, bool) {
	if p, ok := own[model]; ok {
		return p, true
	}
	if model == standin {
		return Price{}, true // nothing was bought
	}
	if _, rest, ok := strings.Cut(model, ":"); ok { // Phoenix's gateway: "openai:gpt-4o"
		model = rest
	}
	if p, ok := prices[model]; ok {
		return p, true
	}
	if i := strings.Index(model, "-20"); i > 0 {
		p, ok := prices[model[:i]]
		return p, ok
	}
	return Price{}, false
}

// Cost is a sum in US dollars, or unknown.
type Cost struct {
	Dollars float64
	Unknown bool // some of it was done by a model whose price is not known
}

// MarshalJSON writes a number, or null for what is not known.
func (c Cost) MarshalJSON() ([]byte, error) {
	if c.Unknown {
		return []byte("null"), nil
	}
	return fmt.Appendf(nil, "%.6f", c.Dollars), nil
}

func (c Cost) String() string {
	if c.Unknown {
		return "unknown (no price for this model)"
	}
	return fmt.Sprintf("$%.4f", c.Dollars)
}

func costOf(p Price, known bool, u Usage) Cost {
	return Cost{(float64(u.Prompt)*p.Prompt + float64(u.Completion)*p.Completion) / 1e6, !known}
}
