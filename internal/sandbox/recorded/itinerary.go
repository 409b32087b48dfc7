package recorded

import (
	"fmt"
	"strings"
)

// The island of Verrin does not exist. Its days are put together by rule, so
// that a text of twenty thousand characters can be read, and checked, by who
// wants to: the lists have different lengths, so that no two days are alike.
var (
	places = []string{"Port Ansel", "Grey Steps", "Marrow Bay", "Hollin", "Upper Hollin", "the Salt Houses", "Tern Point",
		"Cask Harbour", "Wether Moor", "Saint Odd", "Low Bridge", "Fallow Cross", "the Old Signal"}
	ways = []string{
		"The path follows the cliffs and is easy to see; mind the edge where the fence is down.",
		"You climb for an hour through pine wood, then the way is flat until the end.",
		"Most of it is a cart track between stone walls, dry in any weather.",
		"At low tide you can cross the sand and save four kilometres; ask about the tide before you leave.",
		"The way is marked with white stones, which are hard to find in fog: take the map.",
		"It goes up and down over three small valleys, each with a stream to drink from.",
		"This is the lonely part of the island. You will meet sheep and, with luck, the postman.",
	}
	beds = []string{"the lighthouse, six beds, blankets are there", "the inn at the square, where breakfast is early",
		"a room above the bakery, warm at four in the morning", "the walkers' hut, which has a stove and no light",
		"Mrs. Pell's farm, if the dog lets you in", "the old school, with one dormitory and a shower in the yard",
		"a field behind the church, for those who carry a tent", "the harbour hostel, quiet outside of July",
		"the ferryman's loft, paid for with a story", "the sanatorium, which has more rooms than guests", "the mill, closed on Mondays"}
	meals = []string{"fish soup with bread", "mutton pie", "potatoes with herbs and white cheese", "smoked eel, sold from a barrel",
		"pancakes with sloe jam", "barley stew", "crab on toast", "bean salad and boiled eggs", "onion tart"}
	snacks = []string{"two rolls with cheese", "a wedge of oat cake", "cold sausage and mustard", "dried apple rings", "a boiled egg and salt", "plum bread", "a piece of the tart"}
	rain   = []string{
		"If it rains, stay and visit the museum of knots, which takes an hour, or two if the keeper is in the mood.",
		"If it rains, take the bus at 11:10 and walk only the last part, which is sheltered.",
		"If it rains, walk all the same: the wood keeps most of it off.",
		"If it rains, the stream after the second gate cannot be crossed; the road round it costs forty minutes.",
		"If it rains, play cards. The next stage is short enough to make up for it.",
	}
	sights = []string{"a ring of eleven stones, of which guides count twelve", "the seal bank, best seen two hours before low water",
		"a chapel no bigger than a bathing hut", "the broken aqueduct", "a cave that hums in a west wind",
		"the biggest elm on the island, which is not very big", "the wreck of the Prudence", "a view of all four lighthouses at once"}
)

// itinerary is a text of more than 20,000 characters.
func itinerary() string {
	var b strings.Builder
	b.WriteString("# Thirty days around Verrin\n\n" +
		"Walk with the sea on your left, and you cannot get lost. Distances are on foot and generous. " +
		"Shops are rare: carry food for a day and a half, and water for one.\n")
	total := 0
	for day := 1; day <= 30; day++ {
		from, to := places[(day-1)%len(places)], places[day%len(places)]
		if day == 30 {
			to = places[0]
		}
		km := 9 + day*7%12
		total += km
		fmt.Fprintf(&b, "\n## Day %d: from %s to %s, %d km\n\n", day, from, to, km)
		fmt.Fprintf(&b, "Leave %s by %d o'clock and count on %d hours, breaks included. %s ",
			from, 7+day%3, (km+5)/3, ways[day%len(ways)])
		fmt.Fprintf(&b, "About half way lies %s; leave your pack at the gate and give it twenty minutes.", sights[day%len(sights)])
		if day%6 == 0 {
			b.WriteString(" It is a good day for washing: there is a line in the yard and usually wind.")
		}
		b.WriteString("\n\n")
		fmt.Fprintf(&b, "- **Sleep:** %s. Book %d days ahead in summer; in spring a call in the morning is enough.\n", beds[day%len(beds)], 2+day%4)
		fmt.Fprintf(&b, "- **Eat:** %s in the evening, about %d crowns. For the way, ask for %s wrapped in paper.\n",
			meals[day%len(meals)], 60+day*5%45, snacks[day%len(snacks)])
		fmt.Fprintf(&b, "- **Weather:** %s\n", rain[day%len(rain)])
		fmt.Fprintf(&b, "- **If you are tired:** a bus leaves %s for %s at %d:%02d, every day but Sunday.\n", from, to, 13+day%4, day*10%60)
	}
	fmt.Fprintf(&b, "\n## In the end\n\nYou have walked %d km and are back where you started. Hand in the key of the last hut at the harbour office, "+
		"and have your boots looked at before the ferry leaves: the cobbler at %s is the last one for a while.\n", total, places[0])
	return b.String()
}
