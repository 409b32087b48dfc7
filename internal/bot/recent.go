package bot

import (
	"container/list"
	"sync"
)

// recent keeps the values that were used last: a bounded memory for what would
// only cost a call more if it were forgotten.
type recent[K comparable, V any] struct {
	mu    sync.Mutex
	max   int
	order *list.List // front = used last
	at    map[K]*list.Element
}

type recentEntry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](max int) *recent[K, V] {
	return &recent[K, V]{max: max, order: list.New(), at: map[K]*list.Element{}}
}

func (r *recent[K, V]) get(k K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.at[k]
	if !ok {
		var zero V
		return zero, false
	}
	r.order.MoveToFront(e)
	return e.Value.(recentEntry[K, V]).value, true
}

func (r *recent[K, V]) put(k K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[k]; ok {
		e.Value = recentEntry[K, V]{k, v}
		r.order.MoveToFront(e)
		return
	}
	r.at[k] = r.order.PushFront(recentEntry[K, V]{k, v})
	if r.order.Len() > r.max {
		old := r.order.Back()
		r.order.Remove(old)
		delete(r.at, old.Value.(recentEntry[K, V]).key)
	}
}

// values are all that is kept, what was used last first.
func (r *recent[K, V]) values() []V {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]V, 0, r.order.Len())
	for e := r.order.Front(); e != nil; e = e.Next() {
		out = append(out, e.Value.(recentEntry[K, V]).value)
	}
	return out
}

func (r *recent[K, V]) drop(k K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.at[k]; ok {
		r.order.Remove(e)
		delete(r.at, k)
	}
}
