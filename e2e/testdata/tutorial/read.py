"""Reads with the official client what `spanbot loop` left in Phoenix, and prints it as JSON."""

import json
import sys

from phoenix.client import Client
from phoenix.client.types import spans

project, name, before, after = sys.argv[1:]
client = Client()
dataset = client.datasets.get_dataset(dataset=name)
query = spans.SpanQuery().where("annotations['correctness']")
spans_df = client.spans.get_spans_dataframe(query=query, project_identifier=project)
annotations = client.spans.get_span_annotations_dataframe(spans_dataframe=spans_df, project_identifier=project)
experiments = {}
for id in (before, after):
    e = client.experiments.get_experiment(experiment_id=id)
    evaluations = e["evaluation_runs"]
    experiments[id] = {
        "runs": len(e["task_runs"]),
        "evaluations": len(evaluations),
        "labels": sorted({(r.result or {}).get("label") or "" for r in evaluations}),
        "kinds": sorted({r.annotator_kind for r in evaluations}),
    }
humans = annotations[annotations["annotation_name"] == "correctness"]
judge = annotations[annotations["annotation_name"] == "correctness_judge"]
print(
    json.dumps(
        {
            "examples": len(dataset),
            "example": {"input": sorted(dataset[0]["input"]), "output": sorted(dataset[0]["output"]), "label": dataset[0]["metadata"]["label"]},
            "spans": len(spans_df),
            "question": json.loads(spans_df.iloc[0]["attributes.input.value"])["messages"][1]["role"],
            "humans": {"n": len(humans), "kinds": sorted(set(humans["annotator_kind"]))},
            "judge": {"n": len(judge), "kinds": sorted(set(judge["annotator_kind"])), "labels": sorted(set(judge["result.label"]))},
            "experiments": experiments,
        }
    )
)
