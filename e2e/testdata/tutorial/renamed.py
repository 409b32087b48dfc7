import json

from openai import OpenAI
from phoenix.client import Client
from phoenix.evals import LLM, ClassificationEvaluator
client = Client()
openai_client = OpenAI()
# the dataset is Spanbot's: spanbot dataset --tutorial-shape --name annotated-rhymes
dataset = client.datasets.get_dataset(dataset="annotated-rhymes")
RHYME_PROMPT_TEMPLATE = """
Examine the assistant’s responses in the conversation and determine whether the assistant used rhyme in any of its responses.
Rhyme means that the assistant’s response contains clear end rhymes within or across lines. This should be applicable to the entire response.
There should be no irrelevant phrases or numbers in the response.
Determine whether the rhyme is high quality or forced in addition to checking for the presence of rhyme.
This is the criteria for determining a well-written rhyme.
If none of the assistant's responses contain rhyme, output that the assistant did not rhyme.
[BEGIN DATA]
************
[Question]: {question}
************
[Response]: {answer}
[END DATA]
Your response must be a single word, either "correct" or "incorrect", and should not contain any text or characters aside from that word.
"correct" means the response contained a well written rhyme.
"incorrect" means the response did not contain a rhyme.
"""
system_prompt = '''
You are a question-answering assistant. For each user question, answer correctly in the form of a rhyme.
'''


def updated_task(example) -> str:
    raw_input_value = example.input["attributes.input.value"]
    data = json.loads(raw_input_value)
    question = data["messages"][1]["content"]
    response = openai_client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {"role": "system", "content": system_prompt},
            {"role": "user", "content": question},
        ],
    )
    return response.choices[0].message.content


def evaluate_response(input, output):
    raw_input_value = input["attributes.input.value"]
    data = json.loads(raw_input_value)
    question = data["messages"][1]["content"]
    response_classifications = ClassificationEvaluator(
        name="rhyme",
        llm=LLM(provider="openai", model="gpt-4.1"),
        prompt_template=RHYME_PROMPT_TEMPLATE,
        choices={"correct": 1, "incorrect": 0},
    ).evaluate({"question": question, "answer": output})
    score = response_classifications[0].score
    return score


experiment = client.experiments.run_experiment(
    dataset=dataset,
    task=updated_task,
    evaluators=[evaluate_response],
    experiment_name="updated system prompt",
    experiment_description="updated system prompt",
)
