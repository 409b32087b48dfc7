"""Fills a Phoenix database with spans, in the shape of one that came through the API.

usage: seed.py DATABASE PROJECT COUNT ANNOTATED

The COUNT - ANNOTATED spans that stay without a human annotation are spread over
the older half: a team reviews the newest first.
"""
import json, os, sqlite3, sys
from datetime import datetime, timedelta, timezone

path, project, count, annotated = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path)
db.row_factory = sqlite3.Row
span = dict(db.execute("select * from spans order by id limit 1").fetchone())
trace = dict(db.execute("select * from traces where id = ?", (span["trace_rowid"],)).fetchone())
pid = db.execute("select id from projects where name = ?", (project,)).fetchone()[0]
first = db.execute("select max(id) from spans").fetchone()[0] + 1
first_trace = db.execute("select max(id) from traces").fetchone()[0] + 1
begin = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(hours=20)


def insert(table, rows):
    columns = list(rows[0])
    db.executemany("insert into %s (%s) values (%s)" % (table, ",".join(columns), ",".join("?" * len(columns))),
                   [[r[c] for c in columns] for r in rows])


for start in range(0, count, 5000):
    traces, spans, notes = [], [], []
    for i in range(start, min(start + 5000, count)):
        at = begin + timedelta(seconds=i * 70000 / count)
        t0, t1 = (x.strftime("%Y-%m-%d %H:%M:%S.%f") for x in (at, at + timedelta(seconds=1)))
        traces.append({**trace, "id": first_trace + i, "trace_id": os.urandom(16).hex(), "project_rowid": pid, "start_time": t0, "end_time": t1})
        spans.append({**span, "id": first + i, "trace_rowid": first_trace + i, "span_id": os.urandom(8).hex(), "start_time": t0, "end_time": t1})
        # The 100 without an annotation are spread over the older half: the feed
        # meets annotated ones first.
        if annotated and (i >= count // 2 or i % (count // 2 // (count - annotated)) != 0):
            notes.append({"span_rowid": first + i, "name": "correctness", "label": "correct", "score": 1.0, "explanation": None, "metadata": "{}",
                          "annotator_kind": "HUMAN", "identifier": "slack:T1:U1", "source": "API"})
    insert("traces", traces)
    insert("spans", spans)
    if notes:
        insert("span_annotations", notes)
db.commit()
db.execute("pragma wal_checkpoint(truncate)")
print(json.dumps({"spans": db.execute("select count(*) from spans").fetchone()[0], "annotations": db.execute("select count(*) from span_annotations").fetchone()[0]}))
