package recorded

import "time"

// Names of the single calls whose text is hard to show.
const (
	rightToLeft  = "Arabic: the capital of Morocco"
	pictures     = "emoji: a week of dinners"
	code         = "code: the median of a list"
	hostile      = "Slack's own syntax in a text"
	long         = "a very long answer"
	conversation = "a conversation of many turns"
	brokenCall   = "a call that failed"
)

// texts are single calls of a model, each with one thing that a card has to
// cope with.
func texts() []Trace {
	ask := func(name, shows string, c chat) Trace { return Trace{Name: name, Shows: shows, root: llm(c)} }
	return []Trace{
		ask(rightToLeft, "a text from right to left", chat{
			messages: []message{
				system("أنت مساعد يجيب عن أسئلة الجغرافيا بإيجاز وبلغة عربية واضحة."),
				user("ما هي عاصمة المغرب؟ ولماذا يظن كثير من الناس أنها الدار البيضاء (Casablanca)؟"),
			},
			answer: assistant("عاصمة المغرب هي الرباط، وهي مقر الملك والحكومة والبرلمان.\n\n" +
				"أما الدار البيضاء (Casablanca) فهي أكبر مدن البلاد ومركزها الاقتصادي، وفيها أكبر ميناء، كما اشتهر اسمها في العالم بفضل فيلم صدر عام 1942. لذلك يخلط كثير من الناس بين المدينتين، مع أن المسافة بينهما نحو 90 كيلومترًا فقط."),
		}),
		ask(pictures, "emoji of all sorts, and one dish too many with meat", chat{
			messages: []message{
				system("You plan meals for a family 👨‍👩‍👧‍👦. Be cheerful, be brief, and mark each dish with an emoji."),
				user("Five dinners for two picky kids, please! 🙏 No mushrooms 🍄❌, one of us is vegetarian 🥕, Friday has to be quick ⏱️"),
			},
			temperature: 0.7,
			answer: assistant(`Here is your week! 🎉

🇮🇹 Monday: spaghetti with tomato sauce 🍝, carrot sticks for dipping 🥕
🇲🇽 Tuesday: build-your-own tacos 🌮 with beans, corn and cheese 🧀
🇯🇵 Wednesday: rice balls 🍙 with cucumber and egg 🥚, soy sauce on the side
🇬🇷 Thursday: chicken souvlaki 🍗 with flatbread, yoghurt and fries 🍟
⏱️ Friday: pizza toasts 🍕, 15 minutes in the oven, done 👩🏽‍🍳👨🏻‍🍳

Pudding every night? Only if everybody has tried one new vegetable 🥦😉👍🏾`),
		}),
		ask(code, "Markdown: headings, a table, code", chat{
			messages: []message{
				system("You are a programming tutor. Answer in Markdown."),
				user("Write a Go function for the median of a list of numbers. What does it do with an empty list, and how fast is it?"),
			},
			temperature: 0.2,
			answer: assistant(`## Median of a list

Sort a copy, then take the middle:

` + "```go" + `
// Median returns the middle of xs, and false when there is none.
func Median(xs []float64) (float64, bool) {
	if len(xs) == 0 {
		return 0, false
	}
	s := slices.Clone(xs) // the caller's order stays
	slices.Sort(s)
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m], true
	}
	return (s[m-1] + s[m]) / 2, true
}
` + "```" + `

| input | result |
|---|---|
| ` + "`[]`" + ` | 0, false |
| ` + "`[3]`" + ` | 3, true |
| ` + "`[1 9 4]`" + ` | 4, true |
| ` + "`[1 2 3 10]`" + ` | 2.5, true |

1. **Empty list:** the second result is *false*; check it before you use the first.
2. **Speed:** sorting costs O(n log n) time and the copy O(n) memory. *Quickselect* would need O(n) time on average.

> NaN sorts before every other number, so clean your data first.`),
		}),
		ask(hostile, "mentions and markup, which have to stay text", chat{
			messages: []message{
				system("Repeat what the user wants to have announced, word by word."),
				user("Announce: <!channel> <!here> <@U123> free cake! <https://example.com|Click *here*> & tell `everyone` :tada:"),
			},
			answer: assistant("<!channel> <!here> <@U123> free cake! <https://example.com|Click *here*> & tell `everyone` :tada:\n" +
				"*bold* _italic_ ~struck~ ``` a fence that nobody closes\n" +
				"> a quote &lt;not a tag&gt; <#C0123|general> <!subteam^S1|@all> <!date^0^{date}|then>\n" +
				"[a link](https://example.com) **bold** <b>bold</b> \\*no\\* http://example.com @channel"),
		}),
		ask(long, "more than twenty thousand characters", chat{
			messages: []message{
				system("You write complete travel plans. Leave nothing out."),
				user("Plan thirty days of walking around the island of Verrin: stages, where to sleep, what to eat, what to do when it rains."),
			},
			temperature: 0.6, answer: assistant(itinerary()),
		}),
		ask(conversation, "ten questions, of which the last is judged", chat{messages: kitchen(), answer: kitchenAnswer()}),
		{Name: brokenCall, Shows: "an error in place of an answer", root: step{
			name: "ChatCompletion", kind: "LLM",
			chat: &chat{
				messages: []message{
					system("Summarise the contract for a reader without legal training."),
					user("Please summarise all 412 pages of the attached lease, with every appendix."),
				},
				failedAfter: 814 * time.Millisecond,
			},
			failure: &failure{
				kind:    "BadRequestError",
				message: "Error code: 400 - the request holds 214,305 tokens, and the model reads at most 128,000; shorten the messages",
				stack: `Traceback (most recent call last):
  File "app/summarise.py", line 41, in summarise
    return client.chat.completions.create(model=MODEL, messages=messages)
  File "app/client.py", line 118, in create
    raise BadRequestError(response)
BadRequestError: Error code: 400 - the request holds 214,305 tokens, and the model reads at most 128,000; shorten the messages
`,
			},
		}},
	}
}
