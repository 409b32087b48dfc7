package recorded

import (
	"fmt"
	"time"
)

// Names of the traces of several spans.
const (
	retrieval = "retrieval: a bicycle on the ferry"
	agent     = "agent: a day trip by train"
	broken    = "a tool that failed"
)

const ms = time.Millisecond

// steps are traces of several spans. Their roots have what an application
// writes there: plain input and output.
func steps() []Trace { return []Trace{ferry(), dayTrip(), lostParcel()} }

// document is one hit of a search.
type document struct {
	id, source string
	score      float64
	content    string
}

// documents are the attributes of hits; their metadata is flat, as Phoenix
// stores it when it comes from an instrumentation.
func documents(list []document) map[string]any {
	a := map[string]any{}
	for i, d := range list {
		p := fmt.Sprintf("retrieval.documents.%d.document.", i)
		a[p+"id"], a[p+"score"], a[p+"content"] = d.id, d.score, d.content
		a[p+"metadata.source"], a[p+"metadata.language"] = d.source, "en"
	}
	return a
}

// with adds input and output of a plain text to the attributes of a step.
func with(a map[string]any, input, output string) map[string]any {
	return withTypes(a, input, output, "text/plain")
}

// withTypes is with for any media type.
func withTypes(a map[string]any, input, output, mime string) map[string]any {
	if a == nil {
		a = map[string]any{}
	}
	a["input.value"], a["input.mime_type"] = input, mime
	if output != "" {
		a["output.value"], a["output.mime_type"] = output, mime
	}
	return a
}

// ferry is retrieval whose answer says one thing that no document does: that
// helmets are free.
func ferry() Trace {
	const question = "Can I take my rental bicycle on the ferry to Sandholm, and what does it cost?"
	const answer = `Yes. Rental bicycles may travel on the ferry to Sandholm. The ticket for a bicycle costs 4.50 each way, on top of your own; e-bikes pay the same. From June to August you need a reservation for it, up to one hour before departure. A helmet is included free of charge.`
	hits := []document{
		{"faq-031", "help/ferry.md", 0.894, "Rental bicycles may be taken on all ferries of the bay, Sandholm included. The ticket for a bicycle is 4.50 for each direction and is bought together with the passenger's."},
		{"faq-032", "help/ferry.md", 0.861, "Between 1 June and 31 August places for bicycles have to be reserved, at the latest one hour before departure. E-bikes count as bicycles."},
		{"terms-07", "terms/rental.md", 0.612, "The renter is responsible for the bicycle during transport by ferry, train or car. Damage is to be reported within 24 hours."},
		{"prices-02", "help/prices.md", 0.547, "Extras per day: child seat 5.00, pannier bags 3.00, helmet 2.00, repair kit free of charge."},
		{"faq-004", "help/opening.md", 0.283, "The shop at the harbour opens at 8:00, from November to March at 10:00. It is closed on Mondays."},
	}
	prompt := "You answer for a bicycle rental at the harbour. Use these passages only:"
	for i, d := range hits[:4] {
		prompt += fmt.Sprintf("\n[%d] %s", i+1, d.content)
	}
	embedding := map[string]any{
		"embedding.model_name":                  "recorded-embedding",
		"embedding.embeddings.0.embedding.text": question,
		// Shorter than real ones, which are of no use to a reader.
		"embedding.embeddings.0.embedding.vector": []float64{0.0213, -0.1187, 0.0742, 0.2051, -0.0338, 0.0911, -0.1604, 0.0125},
	}
	return Trace{Name: retrieval, Shows: "an answer with the documents behind it, and one claim too many", root: step{
		name: "answer_question", kind: "CHAIN", more: with(nil, question, answer),
		steps: []step{
			{name: "search_help_pages", kind: "RETRIEVER", after: 3 * ms, more: with(documents(hits), question, ""), steps: []step{
				{name: "CreateEmbeddings", kind: "EMBEDDING", after: 1 * ms, took: 87 * ms, more: with(embedding, question, "")},
				{name: "vector_lookup", kind: "TOOL", after: 1 * ms, took: 14 * ms, more: withTypes(
					map[string]any{"tool.name": "vector_lookup", "tool.description": "The nearest passages of an index."},
					`{"index":"help","top_k":5}`, `{"hits":5}`, "application/json")},
			}},
			{name: "ChatCompletion", kind: "LLM", after: 2 * ms, chat: &chat{
				messages: []message{system(prompt), user(question)},
				answer:   assistant(answer),
			}},
		},
	}}
}

// dayTrip is an agent that finds everything and adds it up wrongly: two tickets
// there and back are 74.00.
func dayTrip() Trace {
	const question = "Two of us want to go to Oldenmoor on Saturday. Is it worth it, and what do the trains cost?"
	const answer = `Yes, go! Saturday in Oldenmoor will be mostly sunny, 17 °C, with a 10 % chance of rain.

• There: 8:42 → 10:05, direct
• Back: 18:20 → 19:43, direct

A ticket is 18.50 each way, so the two of you pay 37.00 in total.`
	tools := []tool{
		{"get_weather", "Forecast for a town and a day.", `{"type":"object","properties":{"town":{"type":"string"},"day":{"type":"string"}},"required":["town","day"]}`},
		{"find_trains", "Direct trains and their price for one person and one way.", `{"type":"object","properties":{"to":{"type":"string"},"day":{"type":"string"},"back":{"type":"boolean"}},"required":["to","day"]}`},
	}
	const (
		askWeather = `{"town":"Oldenmoor","day":"Saturday"}`
		askTrains  = `{"to":"Oldenmoor","day":"Saturday","back":true}`
		weather    = `{"sky":"mostly sunny","celsius":17,"rain_percent":10}`
		trains     = `{"there":[{"leaves":"8:42","arrives":"10:05"},{"leaves":"9:42","arrives":"11:05"}],"back":[{"leaves":"18:20","arrives":"19:43"}],"price_each_way":18.50}`
	)
	first := []message{system("You plan trips by train. Look things up before you answer."), user(question)}
	chosen := message{Role: "assistant", Calls: []toolCall{
		call("call_w1", "get_weather", askWeather), call("call_t1", "find_trains", askTrains),
	}}
	second := append(append([]message(nil), first...), chosen,
		message{Role: "tool", Content: weather, CallID: "call_w1"}, message{Role: "tool", Content: trains, CallID: "call_t1"})
	use := func(i int, id, input, output string, took time.Duration) step {
		return step{name: tools[i].name, kind: "TOOL", after: 2 * ms, took: took, more: withTypes(map[string]any{
			"tool.name": tools[i].name, "tool.description": tools[i].description, "tool.id": id,
		}, input, output, "application/json")}
	}
	return Trace{Name: agent, Shows: "tool calls, and a sum that is wrong", root: step{
		name: "trip_planner", kind: "AGENT",
		more: with(map[string]any{"agent.name": "trip_planner"}, question, answer),
		steps: []step{
			{name: "ChatCompletion", kind: "LLM", after: 4 * ms, chat: &chat{messages: first, tools: tools, answer: chosen}},
			use(0, "call_w1", askWeather, weather, 212*ms),
			use(1, "call_t1", askTrains, trains, 648*ms),
			{name: "ChatCompletion", kind: "LLM", after: 3 * ms, chat: &chat{messages: second, tools: tools, answer: assistant(answer)}},
		},
	}}
}

// lostParcel fails in a tool, and its root with it.
func lostParcel() Trace {
	const question = "Where is my parcel 7731-K? It was due on Tuesday."
	const input = `{"parcel":"7731-K"}`
	track := tool{"track_parcel", "Where a parcel is now.", `{"type":"object","properties":{"parcel":{"type":"string"}},"required":["parcel"]}`}
	chosen := message{Role: "assistant", Calls: []toolCall{call("call_p1", "track_parcel", input)}}
	late := failure{
		kind:    "TimeoutError",
		message: "track_parcel: the carrier did not answer within 5 seconds",
		stack: `Traceback (most recent call last):
  File "app/tools.py", line 63, in track_parcel
    answer = carrier.get("/parcels/" + parcel, timeout=5)
TimeoutError: track_parcel: the carrier did not answer within 5 seconds
`,
	}
	return Trace{Name: broken, Shows: "an error that a tool caused", root: step{
		name: "customer_service", kind: "CHAIN", more: with(nil, question, ""), failure: &late,
		steps: []step{
			{name: "ChatCompletion", kind: "LLM", after: 3 * ms, chat: &chat{
				messages: []message{system("You help customers of a parcel service. Look parcels up before you answer."), user(question)},
				tools:    []tool{track}, answer: chosen,
			}},
			{name: track.name, kind: "TOOL", after: 2 * ms, took: 5004 * ms, failure: &late, more: withTypes(map[string]any{
				"tool.name": track.name, "tool.description": track.description, "tool.id": "call_p1",
			}, input, "", "application/json")},
		},
	}}
}
