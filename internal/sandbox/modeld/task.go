package modeld

import (
	"fmt"
	"strings"
)

// answer does what a question-answering prompt asks for.
func (s *Server) answer(system, question string, salt string) string {
	wants := strings.ToUpper(system)
	switch {
	case strings.Contains(wants, "NONSENSE") && s.chance("mode", question, salt) < s.o.Nonsense:
		return s.nonsense(question + salt)
	case strings.Contains(wants, "RHYME"):
		return s.rhyme(question)
	}
	if f, ok := facts[key(question)]; ok {
		return f.plain
	}
	return "I do not know the answer to that question."
}

func (s *Server) rhyme(question string) string {
	if f, ok := facts[key(question)]; ok {
		return f.rhyme
	}
	return "You ask me something that I cannot know,\nso I admit it, and I let it go."
}

// nonsense is words that do not exist and numbers that mean nothing, six of each.
func (s *Server) nonsense(salt string) string {
	starts := []string{"blor", "tas", "zem", "frin", "ock", "quib", "yun", "grib", "snar", "wex"}
	ends := []string{"vin", "quel", "mity", "dle", "wap", "bert", "drel", "saw", "panz", "holt"}
	var words []string
	for i := range 6 {
		pick := func(what string, n int) int { return int(s.chance(what, salt, fmt.Sprint(i)) * float64(n)) }
		words = append(words, starts[pick("start", len(starts))]+ends[pick("end", len(ends))], fmt.Sprint(pick("number", 10_000)))
	}
	return strings.Join(words, " ") + "."
}

type fact struct{ plain, rhyme string }

func key(question string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(question, func(r rune) bool {
		return r != '\'' && !('a' <= r && r <= 'z') && !('A' <= r && r <= 'Z') && !('0' <= r && r <= '9')
	}), " "))
}

// facts are the answers to the tutorial's questions.
var facts = func() map[string]fact {
	out := map[string]fact{}
	for _, f := range [][3]string{
		{"What is the capital of France?", "Paris.", "Beside the Seine, by day and night,\nParis, the capital, shines bright."},
		{"Who wrote 'Pride and Prejudice'?", "Jane Austen.", "Of Bennet girls and Darcy's pride\nJane Austen wrote, with wit as guide."},
		{"What is the boiling point of water in Celsius?", "100 °C.", "When kettles sing and vapours flee,\nit boils at one hundred C."},
		{"What is the largest planet in our solar system?", "Jupiter.", "Of all that round our sun may fall,\ngreat Jupiter is king of all."},
		{"Who developed the theory of relativity?", "Albert Einstein.", "That space can bend and time can bow\nAlbert Einstein showed us how."},
		{"What is the chemical symbol for gold?", "Au.", "For gold the chemists always knew\na symbol short: it is A-u."},
		{"In which year did the Apollo 11 mission land on the moon?", "1969.", "The Eagle landed, all was fine,\nin nineteen hundred sixty-nine."},
		{"What language has the most native speakers worldwide?", "Mandarin Chinese.", "Of mother tongues, the most begin\ntheir day with words in Mandarin."},
		{"Which continent has the most countries?", "Africa.", "With fifty-four, from shore to shore,\nit's Africa that has some more."},
		{"What is the square root of 144?", "12.", "Take numbers off the counting shelf:\nit's twelve, when multiplied by self."},
		{"What is the largest country in the world by land area?", "Russia.", "From Baltic coast to eastern strand\nit's Russia that has most of land."},
		{"Why is the sky blue?", "Air scatters blue light more than red.", "The air will scatter, overhead,\nthe blue of light far more than red."},
		{"Who painted the Mona Lisa?", "Leonardo da Vinci.", "Da Vinci painted, so they say,\nthe smile that has not gone away."},
		{"What is the smallest prime number?", "2.", "Of primes the first, and even too,\nthe smallest of them all is two."},
		{"What gas do plants absorb from the atmosphere?", "Carbon dioxide.", "The leaves that in the sunlight glow\ntake carbon dioxide in below."},
		{"Who was the first President of the United States?", "George Washington.", "When all the states had come as one\nthe first to lead was Washington."},
		{"What is the currency of Japan?", "The yen.", "To buy your noodles now and then\nyou pay, in all Japan, with yen."},
		{"How many continents are there on Earth?", "Seven.", "From pole to pole, and under heaven,\nthe continents we count are seven."},
		{"What is the tallest mountain in the world?", "Mount Everest.", "No peak stands higher than the rest\nexcept the one named Everest."},
		{"Who is the author of '1984'?", "George Orwell.", "Big Brother watched, as we know well:\nthe tale was told by George Orwell."},
	} {
		out[key(f[0])] = fact{f[1], f[2]}
	}
	return out
}()
