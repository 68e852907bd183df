// A program with OpenAI's SDK for TypeScript: each line of standard input is something to ask, each line of standard output
// what came of it.
import { createInterface } from 'node:readline';
import OpenAI, { APIError } from 'openai';

const headersOf = ({ headers }) => Object.fromEntries(headers);

async function all(stream, into) {
  for await (const told of stream) into.push(told);
}

// `told` is kept also when what is told ends in an error.
const asks = {
  models: async (client, order, told) => all(client.models.list(), told),
  model: async (client, { model }) => ({ answer: await client.models.retrieve(model) }),
  chat: async (client, { body, headers }, told) => {
    const request = client.chat.completions.create(body, { headers });
    if (body.stream) return all(await request, told);
    const { data, response } = await request.withResponse();
    return { answer: data, headers: headersOf(response) };
  },
  // Leaves after the first word.
  leave: async (client, { body }, told) => {
    for await (const chunk of await client.chat.completions.create(body)) {
      told.push(chunk);
      if (chunk.choices[0].delta.content) break;
    }
  },
  // What the SDK itself puts together of the chunks.
  gathered: async (client, { body }) => ({ answer: await client.chat.completions.stream(body).finalChatCompletion() }),
  response: async (client, { body }, told) => {
    const response = await client.responses.create(body);
    return body.stream ? all(response, told) : { answer: response, text: response.output_text };
  },
  gathered_response: async (client, { body }) => {
    const response = await client.responses.stream(body).finalResponse();
    return { answer: response, text: response.output_text };
  },
};

async function ask(order) {
  const client = new OpenAI({ baseURL: `${order.base}/v1`, apiKey: order.key, ...order.options });
  const told = [];
  try {
    return { told, ...(await asks[order.ask](client, order, told)) };
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    const { status, code, type, param, message } = error;
    return { told, raised: error.constructor.name, status, code, type, param, message };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await ask(JSON.parse(line))));
}
