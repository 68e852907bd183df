"""A program with Flowise's SDK for Python: each line of standard input is something to ask, each line of standard output
what came of it."""

import json
import sys

import requests
from flowise import Flowise, IFileUpload, IMessage, PredictionData


def predict(order):
    client = Flowise(base_url=order["base"], api_key=order["key"])
    prediction = order["prediction"]
    prediction["uploads"] = [IFileUpload(**upload) for upload in prediction.get("uploads", [])]
    prediction["history"] = [IMessage(**message) for message in prediction.get("history", [])]
    events = []
    for told in client.create_prediction(PredictionData(**prediction)):
        if not isinstance(told, str):
            return {"answer": told}
        events.append(json.loads(told))
    return {"events": events}


def ask(order):
    try:
        return predict(order)
    except requests.HTTPError as error:
        said = {"raised": type(error).__name__, "status": error.response.status_code}
        # The SDK has closed a stream by now, unread.
        return said if order["prediction"].get("streaming") else {**said, "answer": error.response.json()}


for line in sys.stdin:
    print(json.dumps(ask(json.loads(line))), flush=True)
