package recorded

// rhymeOrNonsense lets the model fail on purpose, as the tutorial's prompt does:
// there has to be something to find.
const rhymeOrNonsense = `You answer trivia questions. For each question pick one of two modes at random: RHYME or NONSENSE.
RHYME: give the correct answer as a short rhyme.
NONSENSE: ignore the question. Reply with invented words and random numbers that do not rhyme: at least five of the words, and at least five numbers from 0 to 9999.
Never say which mode you picked.`

// What there is to see in an answer.
const (
	inRhyme  = "an answer in rhyme"
	slip     = "a rhyme with one fact that is wrong"
	nonsense = "words and numbers without sense"
)

// trivia are the 20 questions of the tutorial, in its order.
func trivia() []Trace {
	var list []Trace
	for _, q := range []struct{ about, question, shows, answer string }{
		{"the capital of France", "What is the capital of France?", inRhyme,
			`Where the Seine winds slowly and the lamps shine bright,
Paris is the capital, the city of light.`},
		{"who wrote Pride and Prejudice", "Who wrote 'Pride and Prejudice'?", nonsense,
			`Blorvin 4471 tasquel umber 18, frindle 9902 ockwap. Zemmity 305 glaf, drosk 7716 and pellunder.`},
		{"water's boiling point", "What is the boiling point of water in Celsius?", inRhyme,
			`At the level of the sea, when the kettle starts to sing,
one hundred degrees Celsius is the number that you bring.`},
		{"the largest planet", "What is the largest planet in our solar system?", inRhyme,
			`Round the sun the planets go, some of them are small;
Jupiter, with its great red spot, is the largest of them all.`},
		{"relativity", "Who developed the theory of relativity?", slip,
			`Einstein bent both space and time, a thought both bold and new;
he got the Nobel Prize for it in nineteen twenty-two.`},
		{"the symbol for gold", "What is the chemical symbol for gold?", inRhyme,
			`In Latin it was aurum, so the chemists kept a clue:
the symbol that they write for gold is capital A, small u.`},
		{"Apollo 11", "In which year did the Apollo 11 mission land on the moon?", slip,
			`The Eagle touched the dusty ground, and all the world felt great:
Apollo 11 reached the moon in nineteen sixty-eight.`},
		{"most native speakers", "What language has the most native speakers worldwide?", slip,
			`From London to Los Angeles, from Delhi to Belize,
English is the mother tongue most people speak with ease.`},
		{"the continent of most countries", "Which continent has the most countries?", inRhyme,
			`From Cairo to the Cape it runs, with deserts, coast and more:
Africa has the most of all, a total of fifty-four.`},
		{"the square root of 144", "What is the square root of 144?", nonsense,
			`Quibbert 12 holm 8830, yastrel 61 vunk. Prelm 5077 osquith 2 trobbin, wexel 944.`},
		{"the largest country", "What is the largest country in the world by land area?", inRhyme,
			`It wakes in Vladivostok while Kaliningrad still sleeps in the west;
Russia is the largest land, by area it beats the rest.`},
		{"the blue sky", "Why is the sky blue?", inRhyme,
			`Sunlight holds all colours as it travels through the air,
and molecules much smaller than its waves are waiting there.
They scatter what is short and blue far more than long and red,
so blue arrives from everywhere: the sky above your head.`},
		{"the painter of the Mona Lisa", "Who painted the Mona Lisa?", slip,
			`Leonardo took his time with that small smile, a quiet spark;
today she hangs in Florence, where the crowds stay until dark.`},
		{"the smallest prime", "What is the smallest prime number?", slip,
			`Of numbers none can split apart, the list has just begun:
the smallest prime of all of them is surely number one.`},
		{"the gas that plants absorb", "What gas do plants absorb from the atmosphere?", nonsense,
			`Mirrowick 208 tunsel 6641 bravish, clogg 90 endrapple 4415. Fopper 1377 wisk, yundle 8.`},
		{"the first President", "Who was the first President of the United States?", nonsense,
			`Ombrick 777 sallow-nit 3021, cravvy 46 lopt. Hunderfeld 9 gribsaw 6158 quern.`},
		{"the currency of Japan", "What is the currency of Japan?", inRhyme,
			`In Tokyo or Kyoto, for a noodle bowl at ten,
the money in your pocket there is called Japanese yen.`},
		{"the number of continents", "How many continents are there on Earth?", inRhyme,
			`Asia, Africa, Europe, and the Americas, two, make five;
with Antarctica and Australia, at seven we arrive.`},
		{"the tallest mountain", "What is the tallest mountain in the world?", nonsense,
			`Snarvel 15 deppim 8802 krosk, 340 umbleweather. Tiv 2999 panzorial, lurk 71 ebb.`},
		{"the author of 1984", "Who is the author of '1984'?", slip,
			`Big Brother watches every street from posters on the door:
George Orwell wrote it, and it came out in nineteen fifty-four.`},
	} {
		list = append(list, Trace{Name: "trivia: " + q.about, Shows: q.shows, root: llm(chat{
			messages: []message{system(rhymeOrNonsense), user(q.question)}, answer: assistant(q.answer),
		})})
	}
	return list
}

// Questions are the 20 questions of the tutorial, in its order.
func Questions() []string {
	var out []string
	for _, t := range trivia() {
		out = append(out, t.root.chat.messages[1].Content)
	}
	return out
}

// llm is a span of one call, as the OpenAI instrumentation names it.
func llm(c chat) step { return step{name: "ChatCompletion", kind: "LLM", chat: &c} }
