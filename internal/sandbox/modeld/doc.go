// Package modeld is the stand-in model: it answers on the HTTP of OpenAI's chat
// completions, and there is no language model behind it.
//
// It follows the prompts of the tutorial "Using Human Annotations for Eval-Driven
// Development" by rule and seed. Asked a question under a prompt that wants RHYME
// or NONSENSE, it picks one of the two; under one that wants a rhyme, it rhymes.
// Asked to judge an answer, it looks whether that is made of words or of numbers,
// and is wrong at a set rate. Every answer names the model "standin", so that
// nobody takes its figures for those of a model.
//
//   - server.go: the protocol, and failing on command
//   - task.go: answering questions
//   - judge.go: judging answers
//
// Not here: embeddings, images, the Responses API, accounts
// (any key will do).
package modeld
