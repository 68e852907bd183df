"""A program with OpenAI's SDK for Python: each line of standard input is something to ask, each line of standard output
what came of it."""

import json
import sys

from openai import APIError, OpenAI


def models(client, order, told):
    told.extend(model.to_dict() for model in client.models.list())
    return {}


def model(client, order, told):
    return {"answer": client.models.retrieve(order["model"]).to_dict()}


def chat(client, order, told):
    if order["body"].get("stream"):
        for chunk in client.chat.completions.create(**order["body"]):
            told.append(chunk.to_dict())
        return {}
    headers = order.get("headers")
    raw = client.chat.completions.with_raw_response.create(**order["body"], extra_headers=headers)
    return {"answer": raw.parse().to_dict(), "headers": dict(raw.headers)}


def leave(client, order, told):
    """Leaves after the first word."""
    with client.chat.completions.create(**order["body"]) as stream:
        for chunk in stream:
            told.append(chunk.to_dict())
            if chunk.choices[0].delta.content:
                break
    return {}


def gathered(client, order, told):
    """What the SDK itself puts together of the chunks."""
    with client.chat.completions.stream(**order["body"]) as stream:
        return {"answer": stream.get_final_completion().to_dict()}


def response(client, order, told):
    answer = client.responses.create(**order["body"])
    if order["body"].get("stream"):
        told.extend(event.to_dict() for event in answer)
        return {}
    return {"answer": answer.to_dict(), "text": answer.output_text}


def gathered_response(client, order, told):
    with client.responses.stream(**order["body"]) as stream:
        answer = stream.get_final_response()
    return {"answer": answer.to_dict(), "text": answer.output_text}


ASKS = {ask.__name__: ask for ask in (models, model, chat, leave, gathered, response, gathered_response)}


def ask(order):
    client = OpenAI(base_url=order["base"] + "/v1", api_key=order["key"], **order.get("options", {}))
    told = []  # kept also when what is told ends in an error
    try:
        return {"told": told, **ASKS[order["ask"]](client, order, told)}
    except APIError as error:
        members = ("code", "type", "param", "message")
        said = {member: getattr(error, member) for member in members}
        status = getattr(error, "status_code", None)
        return {"told": told, "raised": type(error).__name__, "status": status, **said}


for line in sys.stdin:
    print(json.dumps(ask(json.loads(line))), flush=True)
