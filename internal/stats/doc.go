// Package stats is the arithmetic of reviewing: how far people agree, how a judge
// does against them, whether a change made a difference, and how much any of it
// can be trusted. Every number comes with how much it rests on and a 95 %
// interval, or with the reason why there is none. Chance comes from a seed: the
// same votes give the same numbers.
//
//   - estimate.go: a number with its interval
//   - proportion.go: Wilson, Newcombe, McNemar, sample sizes, weighted and corrected rates
//   - agreement.go, kappa.go, alpha.go: agreement among raters
//   - confusion.go: a judge against people
//   - bootstrap.go: intervals by resampling, seeded
//
// docs/statistics.md says in plain words when to believe which. Not here: reading
// or printing of anything, and what to do about a number.
package stats
