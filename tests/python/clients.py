"""The Python clients against a gateway: prints one JSON object, results by name, which clients.test.mjs asserts.

    python clients.py GATEWAY_URL CLIENT_KEY
"""

import json
import os
import sys

# LiteLLM would otherwise fetch its price list when it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
from pydantic import BaseModel

url, key = sys.argv[1:]
base = f"{url}/v1"
messages = [{"role": "user", "content": "Why is the sky blue?"}]
parameters = {"type": "object", "properties": {"town": {"type": "string"}}}
tools = [{"type": "function", "function": {"name": "weather", "description": "Weather of a town", "parameters": parameters}}]
client = openai.OpenAI(base_url=base, api_key=key, max_retries=0)
lite = {"model": "openai/auto", "api_base": base, "api_key": key, "max_retries": 0}


class Answer(BaseModel):
    simulated: bool
    answer: str


def openai_chat():
    reply = client.chat.completions.create(model="auto", messages=messages)
    return {"model": reply.model, "text": reply.choices[0].message.content, "tokens": reply.usage.total_tokens}


def openai_chat_stream():
    stream = client.chat.completions.create(model="auto", messages=messages, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return {"model": chunks[-1].model, "text": text, "tokens": chunks[-1].usage.total_tokens}


def openai_chat_tools():
    reply = client.chat.completions.create(model="auto", messages=messages, tools=tools)
    call = reply.choices[0].message.tool_calls[0]
    answered = [*messages, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Rain."}]
    text = client.chat.completions.create(model="auto", messages=answered, tools=tools).choices[0].message.content
    return {"name": call.function.name, "model": reply.model, "text": text}


def openai_chat_parse():
    reply = client.chat.completions.parse(model="auto", messages=messages, response_format=Answer)
    return {"model": reply.model, "text": reply.choices[0].message.parsed.answer}


def openai_receipt():
    reply = client.chat.completions.create(model="auto", messages=messages, extra_body={"pennyroute": {"receipt": True}})
    return {"model": reply.model, "served": reply.pennyroute["served"]}


def openai_responses():
    reply = client.responses.create(model="auto", input="Why is the sky blue?", instructions="Be short.")
    return {"model": reply.model, "text": reply.output_text, "tokens": reply.usage.total_tokens}


def openai_responses_stream():
    with client.responses.stream(model="auto", input="Why is the sky blue?") as stream:
        kinds = [event.type for event in stream]
        reply = stream.get_final_response()
    return {"model": reply.model, "text": reply.output_text, "tokens": reply.usage.total_tokens, "last": kinds[-1]}


def openai_responses_parse():
    reply = client.responses.parse(model="auto", input="Why is the sky blue?", text_format=Answer)
    return {"model": reply.model, "text": reply.output_parsed.answer}


def litellm_chat():
    reply = litellm.completion(messages=messages, **lite)
    return {"model": reply.model, "text": reply.choices[0].message.content, "tokens": reply.usage.total_tokens}


def litellm_stream():
    chunks = list(litellm.completion(messages=messages, stream=True, stream_options={"include_usage": True}, **lite))
    whole = litellm.stream_chunk_builder(chunks, messages=messages)
    return {"model": whole.model, "text": whole.choices[0].message.content, "tokens": whole.usage.total_tokens}


def litellm_tools():
    reply = litellm.completion(messages=messages, tools=tools, **lite)
    return {"name": reply.choices[0].message.tool_calls[0].function.name}


def litellm_anthropic():
    reply = litellm.completion(model="anthropic/auto", messages=messages, api_base=url, api_key=key, max_tokens=500)
    return {"model": reply.model, "text": reply.choices[0].message.content, "tokens": reply.usage.total_tokens}


def litellm_anthropic_stream():
    chunks = list(litellm.completion(model="anthropic/auto", messages=messages, api_base=url, api_key=key, stream=True))
    return {"text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks)}


def raised(call):
    """The name of the exception that a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001: which one it is, is the result
        return {"raised": type(error).__name__, "status": getattr(error, "status_code", None)}
    return {"raised": None}


def stream_cut():
    return list(client.chat.completions.create(model="auto", messages=messages, stream=True, extra_body={"simulate": "late_cut"}))


def responses_cut():
    return list(client.responses.create(model="auto", input="Hi", stream=True, extra_body={"simulate": "late_cut"}))


def other(key):
    return openai.OpenAI(base_url=base, api_key=key, max_retries=0)


calls = [
    *(openai_chat, openai_chat_stream, openai_chat_tools, openai_chat_parse, openai_receipt),
    *(openai_responses, openai_responses_stream, openai_responses_parse),
    *(litellm_chat, litellm_stream, litellm_tools, litellm_anthropic, litellm_anthropic_stream),
]
failures = {
    "openai_malformed": lambda: client.chat.completions.create(model="auto", messages="Hi"),
    "openai_unknown_model": lambda: client.chat.completions.create(model="nobody/nothing", messages=messages),
    "openai_wrong_key": lambda: other("wrong").models.list(),
    "openai_all_limited": lambda: client.chat.completions.create(model="auto", messages=messages, extra_body={"simulate": "429"}),
    "openai_stream_cut": stream_cut,
    "openai_responses_kept": lambda: client.responses.create(model="auto", input="Hi", previous_response_id="resp_1"),
    "openai_responses_hosted": lambda: client.responses.create(model="auto", input="Hi", tools=[{"type": "web_search"}]),
    "openai_responses_cut": responses_cut,
    "litellm_malformed": lambda: litellm.completion(messages=messages, temperature=0, extra_body={"messages": "Hi"}, **lite),
    "litellm_wrong_key": lambda: litellm.completion(messages=messages, **{**lite, "api_key": "wrong"}),
    "litellm_unknown_model": lambda: litellm.completion(messages=messages, **{**lite, "model": "openai/nobody/nothing"}),
    "litellm_anthropic_wrong_key": lambda: litellm.completion(model="anthropic/auto", messages=messages, api_base=url, api_key="wrong"),
}


def told(call):
    """A result, or the error that took its place."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001: the test shows it
        return {"error": f"{type(error).__name__}: {error}"}


litellm.suppress_debug_info = True
results = {call.__name__: told(call) for call in calls}
results.update({name: raised(call) for name, call in failures.items()})
print(json.dumps(results))
